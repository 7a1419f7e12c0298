// `remit connect --login` under an MCP client: when it asks for a sign-in, a person at headless Chromium signs in.
//
// Script: {connect: {command, args}, calls: [...], user, password}; see play.mjs. Prints what play.mjs prints,
// with the last page that the person saw in place of the protocol.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { browser, signIn } from './person.mjs';
import { play, script } from './play.mjs';

const transport = new StdioClientTransport({ command: script.connect.command, args: script.connect.args, env: process.env, stderr: 'pipe' });
let said = '';
let asked;
transport.stderr.on('data', (data) => {
  process.stderr.write(data);
  said += data;
  const url = said.match(/^ +(http\S+\/oauth\/authorize\S+)$/m);
  if (url && !asked) asked = consent(url[1]);
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
const page = await asked;
await play(client, () => page ?? 'nobody was asked', (c, params, options) => c.callTool(params, undefined, options));
