// A person at headless Chromium opens a sign-in URL of `remit login` or `remit connect --login` and decides.
//
// Script: {url, user, password, decision (Allow)}; prints the last page that the person saw.
import { readFileSync } from 'node:fs';
import { browser, signIn } from './person.mjs';

const script = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const chrome = await browser();
try {
  const page = await chrome.newPage();
  await page.goto(script.url);
  await signIn(page, script.user, script.password);
  await page.getByRole('button', { name: 'Allow' }).waitFor();
  const read = await page.locator('main').innerText();
  await page.getByRole('button', { name: script.decision ?? 'Allow' }).click();
  await page.waitForURL(/127\.0\.0\.1:\d+\/callback/);
  console.log(JSON.stringify({ read, page: await page.locator('body').innerText() }));
} finally {
  await chrome.close();
}
