// A person at headless Chromium with a virtual authenticator: adds a passkey, signs in with it, confirms a password with it, and
// signs what a consent page shows. Prints one JSON object.
//
// Script: {issuer, user, password, shots, steps: [...], url, credentials, link}; each step is a function below.
import { readFileSync } from 'node:fs';
import { browser, signIn } from './person.mjs';

const script = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const report = { console: [], foreign: [], pages: {}, overflows: [] };
const chrome = await browser();
const context = await chrome.newContext({ viewport: { width: 1000, height: 800 } });
const page = await context.newPage();
const own = new Set([script.issuer]);
page.on('request', (request) => {
  const url = new URL(request.url());
  if (!own.has(url.origin) && url.hostname !== '127.0.0.1') report.foreign.push(request.url());
});
page.on('console', (message) => {
  // That a page itself says 403 is its job, and there is no icon.
  if (['error', 'warning'].includes(message.type()) && !/favicon|status of 4\d\d/.test(message.text() + message.location().url)) report.console.push(message.text());
});
const cdp = await context.newCDPSession(page);
await cdp.send('WebAuthn.enable');
const { authenticatorId } = await cdp.send('WebAuthn.addVirtualAuthenticator', {
  options: { protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true },
});
for (const credential of script.credentials ?? []) await cdp.send('WebAuthn.addCredential', { authenticatorId, credential });
const verified = (isUserVerified) => cdp.send('WebAuthn.setUserVerified', { authenticatorId, isUserVerified });

async function look(name) {
  report.pages[name] = await page.locator('main').innerText();
  for (const [suffix, width] of [['', 1000], ['-narrow', 360]]) {
    await page.setViewportSize({ width, height: 800 });
    if (await page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth)) report.overflows.push(name + suffix);
    if (script.shots) await page.screenshot({ path: `${script.shots}/${name}${suffix}.png`, fullPage: true });
  }
  await page.setViewportSize({ width: 1000, height: 800 });
}

const steps = {
  async add() {
    await page.goto(`${script.issuer}/account/passkeys`);
    await look('account-sign-in');
    await signIn(page, script.user, script.password);
    await look('no-passkeys');
    await page.getByLabel('What you call it').fill('Test laptop');
    await page.getByRole('button', { name: 'Add a passkey' }).click();
    // Who has a passkey uses it before the list is shown.
    await page.getByRole('button', { name: 'Use your passkey' }).waitFor();
    await look('confirm');
    await page.getByRole('button', { name: 'Use your passkey' }).click();
    await page.getByText('Test laptop').waitFor();
    await look('passkeys');
  },
  async again() {
    await page.getByRole('button', { name: 'Add a passkey' }).click();
    await page.getByText('already has a passkey').waitFor();
    await look('already-there');
  },
  async alone() {
    await context.clearCookies();
    await page.goto(`${script.issuer}/account/passkeys`);
    await page.getByRole('button', { name: 'Sign in with a passkey' }).click();
    await page.getByText('last used').waitFor();
    await look('signed-in-alone');
  },
  async sign() {
    await context.clearCookies();
    await page.goto(script.url);
    await look('sign-in');
    await page.getByRole('button', { name: 'Sign in with a passkey' }).click();
    await page.getByRole('button', { name: 'Allow and sign' }).waitFor();
    await look('consent');
    await verified(false);
    await page.getByRole('button', { name: 'Allow and sign' }).click();
    await page.getByText('No passkey was used').waitFor();
    await look('not-verified');
    await verified(true);
    await page.getByRole('button', { name: 'Allow and sign' }).click();
    await page.waitForURL(/127\.0\.0\.1:\d+\/callback/);
  },
  async second() {
    await page.goto(`${script.issuer}/account/passkeys`);
    await signIn(page, script.user, script.password);
    await page.getByRole('button', { name: 'Use your passkey' }).waitFor();
    await look('second-factor');
    await page.getByRole('button', { name: 'Use your passkey' }).click();
    await page.getByText('You are signed in as').waitFor();
    await look('signed-in-with-both');
  },
  async link() {
    await context.clearCookies();
    await page.goto(script.link);
    await look('link');
    await page.getByRole('button', { name: 'Add a passkey' }).click();
    await page.getByText('Your passkey was added').waitFor();
    await look('link-added');
  },
  // With another authenticator: this one would not make a second passkey.
  async spent() {
    await cdp.send('WebAuthn.clearCredentials', { authenticatorId });
    await page.goto(script.link);
    await page.getByRole('button', { name: 'Add a passkey' }).click();
    await page.getByText('was used before').waitFor();
    await look('link-again');
  },
};

try {
  for (const step of script.steps) await steps[step]();
  report.credentials = (await cdp.send('WebAuthn.getCredentials', { authenticatorId })).credentials;
} catch (error) {
  if (script.shots) await page.screenshot({ path: `${script.shots}/failed.png`, fullPage: true });
  console.error(page.url(), await page.locator('body').innerText());
  throw error;
} finally {
  await chrome.close();
}
console.log(JSON.stringify(report));
