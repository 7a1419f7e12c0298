// Sign-in and consent as a person meets them in headless Chromium. Prints one JSON object.
//
// Script: {authorize: authorization URL without redirect_uri, user, password, shots}
import { readFileSync } from 'node:fs';
import { browser, callback, signIn } from './person.mjs';

const script = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const report = { foreign: [], console: [] };
const to = await callback();
const address = new URL(script.authorize);
const own = address.origin;
address.searchParams.set('redirect_uri', to.uri);

const chrome = await browser();
try {
  const page = await chrome.newPage({ viewport: { width: 1000, height: 800 } });
  page.on('request', (request) => { if (new URL(request.url()).origin !== own && !request.url().startsWith(to.uri)) report.foreign.push(request.url()); });
  // That a page itself says 403 or 400 is its job, and there is no icon; whatever else the console holds is wrong.
  const pages = new Set([`${own}/favicon.ico`]);
  page.on('response', (response) => { if (response.request().isNavigationRequest()) pages.add(response.url()); });
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type()) && !pages.has(message.location().url)) report.console.push(`${message.text()} ${message.location().url}`);
  });
  const shot = async (name) => { if (script.shots) await page.screenshot({ path: `${script.shots}/${name}.png`, fullPage: true }); };

  const opened = await page.goto(address.href);
  report.headers = opened.headers();
  await shot('sign-in');
  await signIn(page, script.user, 'not the password');
  report.wrong_password = await page.getByRole('alert').innerText();
  await shot('wrong-password');
  await signIn(page, script.user, script.password);
  await page.getByRole('button', { name: 'Allow' }).waitFor();
  report.consent = await page.locator('main').innerText();
  await shot('consent');
  const [cookie] = await page.context().cookies(own);
  report.cookie = { httpOnly: cookie?.httpOnly, sameSite: cookie?.sameSite };
  await page.setViewportSize({ width: 360, height: 640 });
  report.overflows = await page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);
  await shot('consent-narrow');
  await page.getByRole('button', { name: 'Refuse' }).click();
  report.refused = Object.fromEntries((await to.arrived).searchParams);
  // A redirect URI that is not registered: the browser must not be sent there.
  address.searchParams.set('redirect_uri', 'https://evil.example/callback');
  const misled = await page.goto(address.href);
  report.misled = { status: misled.status(), url: new URL(page.url()).origin === own, text: await page.locator('main').innerText() };
  await shot('misled');
} finally {
  await chrome.close();
  to.close();
}
console.log(JSON.stringify(report));
