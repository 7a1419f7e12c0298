// A person at headless Chromium: opens what an agent asks them to, signs in, reads, decides.
import { createServer } from 'node:http';
import { once } from 'node:events';
import { chromium } from 'playwright-core';

const FLAGS = ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

export async function browser() {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', headless: true, args: FLAGS });
}

/** The agent's redirect URI: a loopback port that keeps what it is given. */
export async function callback() {
  let arrive;
  const arrived = new Promise((resolve) => (arrive = resolve));
  const server = createServer((request, response) => {
    if (!request.url.startsWith('/callback')) return response.writeHead(204).end();
    response.writeHead(200, { 'content-type': 'text/plain' }).end('You may close this page.');
    arrive(new URL(request.url, uri));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const uri = `http://127.0.0.1:${server.address().port}/callback`;
  return { uri, arrived, close: () => server.close() };
}

/** Signs in on the page that is open; the answer is the next page's heading or problem. */
export async function signIn(page, user, password) {
  await page.getByLabel('Name').fill(user);
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
}

/** Opens `url`, signs in, consents, and returns what the agent's redirect URI was given. */
export async function consent(url, to, { user, password, decision = 'Allow', shots }) {
  const chrome = await browser();
  try {
    const page = await chrome.newPage();
    await page.goto(url);
    await signIn(page, user, password);
    await page.getByRole('button', { name: 'Allow' }).waitFor();
    const read = await page.locator('main').innerText();
    if (shots) await page.screenshot({ path: `${shots}/consent.png`, fullPage: true });
    await page.getByRole('button', { name: decision }).click();
    return { url: await to.arrived, read };
  } finally {
    await chrome.close();
    to.close();
  }
}
