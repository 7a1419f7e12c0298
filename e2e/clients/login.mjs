// `remit connect --login` under an MCP client: when it asks for a sign-in, a person at headless Chromium signs in.
//
// Script: {connect: {command, args}, asks, calls: [...], user, password}; see play.mjs. Prints what play.mjs prints,
// with the last page that the person saw in place of the protocol.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { browser, signIn } from './person.mjs';
import { play, script } from './play.mjs';

const transport = new StdioClientTransport({ command: script.connect.command, args: script.connect.args, env: process.env, stderr: 'pipe' });
let said = '';
let asked;
let heard;
const url = new Promise((resolve) => { heard = resolve; });
transport.stderr.on('data', (data) => {
  process.stderr.write(data);
  said += data;
  const found = said.match(/^ +(http\S+\/oauth\/authorize\S+)$/m);
  if (found && !asked) {
    asked = consent(found[1]);
    heard();
  }
});

async function consent(url) {
  const chrome = await browser();
  try {
    const page = await chrome.newPage();
    await page.goto(url);
    await signIn(page, script.user, script.password);
    await page.getByRole('button', { name: 'Allow' }).click();
    await page.waitForURL(/127\.0\.0\.1:\d+\/callback/);
    return await page.locator('body').innerText();
  } finally {
    await chrome.close();
  }
}

const client = new Client({ name: 'remit-e2e-login', version: '1' });
await client.connect(transport);
// The bridge answers before anybody has signed in; the script says whether a sign-in is expected.
if (script.asks) await url;
const page = await asked;
await play(client, () => page ?? 'nobody was asked', (c, params, options) => c.callTool(params, undefined, options));
