// A person at headless Chromium signs in at an identity provider and decides what an agent may do. Prints one JSON object.
//
// Script: {url, kept, provider, user, password, decision (Allow), stop}
// `kept` is a file with what the browser keeps between two runs. `provider` is the title on Remit's button; without `user` the
// person has nothing to fill in. `stop: "provider"` ends at the provider's own page, `stop: "answer"` before its answer is
// delivered. The report has `end`: callback, problem (Remit's words in `problem`), provider, answer (its URL in `answer`), or
// unreachable when the browser shows a page of its own.
import { existsSync, readFileSync } from 'node:fs';
import { browser } from './person.mjs';

const script = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const own = new URL(script.url).origin;
const report = { visited: [] };
const chrome = await browser();
try {
  const storageState = existsSync(script.kept) ? script.kept : undefined;
  const context = await chrome.newContext({ storageState });
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  page.on('response', (response) => {
    if (!response.request().isNavigationRequest()) return;
    const url = new URL(response.url());
    report.status = response.status();
    if (report.visited.at(-1) !== url.origin) report.visited.push(url.origin);
  });
  if (script.stop === 'answer') {
    // Playwright's own routes do not see what a redirect leads to.
    const devtools = await context.newCDPSession(page);
    devtools.on('Fetch.requestPaused', ({ requestId, request }) => {
      report.answer = request.url;
      const body = Buffer.from('<p id="kept-back">kept back</p>').toString('base64');
      return devtools.send('Fetch.fulfillRequest', { requestId, responseCode: 200, body });
    });
    await devtools.send('Fetch.enable', { patterns: [{ urlPattern: `${own}/oauth/callback/*` }] });
  }
  const nobody = new Promise((resolve) => {
    page.on('requestfailed', (request) => {
      if (request.isNavigationRequest() && request.failure().errorText === 'net::ERR_CONNECTION_REFUSED') resolve('nobody');
    });
  });
  await page.goto(script.url);
  const walked = walk(page);
  if ((await Promise.race([walked, nobody])) === 'nobody') end('unreachable');
  walked.catch(() => {});
  await context.storageState({ path: script.kept });
} finally {
  await chrome.close();
}
console.log(JSON.stringify(report));

async function walk(page) {
  const places = {
    callback: page.getByText(/You (may|can) close/),
    answer: page.locator('#kept-back'),
    consent: page.getByRole('button', { name: script.decision ?? 'Allow', exact: true }),
    alert: page.locator('main [role=alert]#problem'),
    problem: page.getByRole('heading', { name: /was refused|Too many|has a problem/ }),
    choice: page.getByRole('button', { name: `Sign in with ${script.provider}`, exact: true }),
    password: page.locator('input[type=password]'),
    confirm: page.getByRole('button', { name: 'Continue', exact: true }),
    provider: page.locator('#kc-error-message'),
  };
  const any = Object.values(places).reduce((all, place) => all.or(place));
  let filled = false;
  for (let step = 0; step < 12; step++) {
    await any.first().waitFor();
    const place = await first(page, places);
    if (place === undefined) continue;
    const at = new URL(page.url()).origin;
    if (place === 'callback') return end('callback', { last: await page.locator('body').innerText() });
    if (place === 'answer') return end('answer');
    if (place === 'alert') return end('problem', { problem: await places.alert.innerText() });
    if (place === 'problem') return end('problem', { problem: await page.locator('main').innerText() });
    if (place === 'provider') return end('provider', { said: await page.locator('body').innerText() });
    if (place === 'consent') {
      report.read = await page.locator('main').innerText();
      await left(page, places.consent.click());
    } else if (place === 'choice') {
      await left(page, places.choice.click());
    } else if (place === 'confirm') {
      await left(page, places.confirm.click());
    } else if (at === own || filled || script.stop === 'provider') {
      // Remit's own password field without a provider to choose, or a provider that asks once more.
      return end(at === own ? 'nothing' : 'provider', { said: await page.locator('body').innerText() });
    } else {
      filled = true;
      await page.locator('input[name=username], input[name=login]').first().fill(script.user);
      await places.password.fill(script.password);
      await left(page, places.password.press('Enter'));
    }
  }
  return end('lost', { said: await page.locator('body').innerText() });
}

/** Waits until the action has led to another document. */
async function left(page, action) {
  const gone = page.waitForEvent('framenavigated', (frame) => frame === page.mainFrame());
  await action;
  await gone;
  await page.waitForLoadState();
}

async function first(page, places) {
  for (const [name, place] of Object.entries(places)) {
    if (await place.first().isVisible().catch(() => false)) return name;
  }
}

function end(how, more = {}) {
  Object.assign(report, { end: how, ...more });
}
