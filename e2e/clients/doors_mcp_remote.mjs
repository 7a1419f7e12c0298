// mcp-remote, unmodified, at the front door: a stdio client starts it, and a person does what it says on standard error.
//
// Script: as doors/mod.rs makes it; prints a list of {client, mode, kind, result | words}.
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { installed, report, script } from './door.mjs';
import { browser, signIn } from './person.mjs';
import { decide } from './person-http.mjs';

const PROXY = new URL('node_modules/mcp-remote/dist/proxy.js', import.meta.url).pathname;

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

/** Starts it with `flags`, and lists and calls through it. */
async function through(flags, person) {
  const folder = mkdtempSync(join(tmpdir(), 'mcp-remote-'));
  const args = [PROXY, script.resource, String(await freePort()), ...flags];
  // A browser that does nothing: the person reads the address on standard error.
  const env = { ...process.env, HOME: folder, MCP_REMOTE_CONFIG_DIR: folder, BROWSER: 'true' };
  const transport = new StdioClientTransport({ command: 'node', args, env, stderr: 'pipe' });
  let [said, asked] = ['', undefined];
  const failed = new Promise((_, reject) => {
    transport.stderr.on('data', (data) => {
      said += data;
      const url = /^(?:\[\d+\])?\s*(http\S+\/oauth\/(?:authorize|device)\S*)$/m.exec(said)?.[1];
      if (url) asked ??= person(url, said).catch(reject);
      if (/Fatal error|Connection error|Authentication failed/.test(said)) setTimeout(reject, 200, new Error(last(said)));
    });
  });
  const client = new Client({ name: 'doors', version: '1' });
  try {
    await Promise.race([used(client, transport), failed]);
    return 'works';
  } catch (error) {
    if (process.env.DOORS_DEBUG) console.error(said);
    throw Object.assign(new Error(last(said) ?? error.message), { name: '' });
  } finally {
    failed.catch(() => {});
    await client.close().catch(() => {});
    rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }
}

async function used(client, transport) {
  await client.connect(transport);
  await client.listTools();
  const result = await client.callTool({ name: script.tool, arguments: {} });
  if (result.isError) throw new Error(result.content[0].text);
}

/** What it says of an error, without the number of its process. */
const last = (said) => /^\[\d+\] .*?(?:error|failed)[^:]*: *(.*)$/im.exec(said)?.[1];

const withoutBrowser = (url) => decide(url, script).then(async ({ location, text }) => {
  if (!location) throw new Error(`the page says: ${text}`);
  await fetch(location);
});

async function inChromium(url) {
  const chrome = await browser();
  try {
    const page = await chrome.newPage();
    await page.goto(url);
    await signIn(page, script.user, script.password);
    await page.getByRole('button', { name: 'Allow' }).click();
    await page.waitForURL(/\/oauth\/callback/);
    await page.waitForLoadState('networkidle');
  } finally {
    await chrome.close();
  }
}

const withCode = (url, said) => decide(url, script, { user_code: /\b([A-Z]{4}-[A-Z]{4})\b/.exec(said)[1] });

const given = (id, more = {}) => ['--static-oauth-client-info', JSON.stringify({ client_id: id, ...more })];
const name = `mcp-remote ${installed('mcp-remote')}`;
await report([
  [name, 'as it is: registers itself', 'bearer', () => through([], inChromium)],
  [name, '`--client-metadata-url`', 'bearer', () => through(['--client-metadata-url', script.document], withoutBrowser)],
  [name, '`--static-oauth-client-info`', 'bearer', () => through(given(script.editor), withoutBrowser)],
  [name, '`--device-code`, given id', 'bearer', () => through(['--device-code', ...given(script.editor)], withCode)],
  [name, '`--client-credentials`', 'secret', () => through(['--client-credentials', ...given(script.machine.id, { client_secret: 'a secret' })], withoutBrowser)],
]);
