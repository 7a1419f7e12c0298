// Codex, unmodified and without an account, at the front door: `codex mcp add` signs a person in, and its app server lists and calls.
//
// Script: as doors/mod.rs makes it, with `packages`, the folder that has its package; prints a list of
// {client, mode, kind, result | words}.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { report, script } from './door.mjs';
import { browser, signIn } from './person.mjs';

const scope = join(script.packages, 'node_modules/@openai');
const version = JSON.parse(readFileSync(join(scope, 'codex/package.json'), 'utf8')).version;

/** The program inside the package for this kind of machine. */
function program() {
  for (const name of readdirSync(scope).filter((name) => name.startsWith('codex-'))) {
    const vendor = join(scope, name, 'vendor');
    for (const target of readdirSync(vendor)) return join(vendor, target, 'bin/codex');
  }
  throw new Error(`no program of Codex for this machine in ${scope}`);
}

const CODEX = program();
/** How long one program may take, in milliseconds. */
const PATIENCE = 60_000;

function start(args, home) {
  const env = { ...process.env, HOME: home, CODEX_HOME: home, BROWSER: 'true', RUST_LOG: 'off', RUST_BACKTRACE: '0', NO_COLOR: '1' };
  const child = spawn(CODEX, args, { env, stdio: ['pipe', 'pipe', 'pipe'], cwd: home });
  setTimeout(() => child.kill(), PATIENCE).unref();
  return child;
}

/** `codex mcp add`, which signs in when the server has OAuth; what it said. */
async function add(flags, home, stranger) {
  const child = start(['mcp', 'add', 'desk', ...flags], home);
  let [said, asked] = ['', undefined];
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (data) => {
      said += data;
      const url = /^(http\S+\/oauth\/authorize\S+)$/m.exec(said)?.[1];
      if (!url || asked) return;
      asked = consent(url, stranger);
      // It waits for an answer that never comes.
      asked.catch(() => child.kill());
    });
  }
  const code = await new Promise((done) => child.on('close', done));
  await asked;
  if (code !== 0) throw new Error(/Error: ([\s\S]*)/.exec(said)?.[1] ?? said);
}

/** A person at headless Chromium; the page says so when there is nothing to sign in for. */
async function consent(url, stranger) {
  const chrome = await browser();
  try {
    const page = await chrome.newPage();
    await page.goto(url);
    if (stranger) throw new Error(`the page says: ${await page.locator('main').innerText()}`);
    await signIn(page, script.user, script.password);
    await page.getByRole('button', { name: 'Allow' }).click();
    await page.waitForURL(/127\.0\.0\.1:\d+\/callback/);
    await page.waitForLoadState('networkidle');
  } finally {
    await chrome.close();
  }
}

/** A session of the app server, which is what editors talk to; it lists the server's tools and calls one. */
async function used(home) {
  const app = start(['app-server'], home);
  const waiting = new Map();
  createInterface({ input: app.stdout }).on('line', (line) => {
    const message = JSON.parse(line);
    if (message.method === undefined) waiting.get(message.id)?.(message);
  });
  let last = 0;
  const ask = (method, params) => new Promise((resolve, reject) => {
    last += 1;
    waiting.set(last, ({ result, error }) => (error ? reject(new Error(error.message)) : resolve(result)));
    app.on('close', () => reject(new Error(`the app server ended at ${method}`)));
    app.stdin.write(`${JSON.stringify({ id: last, method, params })}\n`);
  });
  try {
    await ask('initialize', { clientInfo: { name: 'doors', title: 'doors', version: '1' } });
    app.stdin.write(`${JSON.stringify({ method: 'initialized' })}\n`);
    const { data } = await ask('mcpServerStatus/list', {});
    const tools = data.find(({ name }) => name === 'desk').tools;
    if (!(script.tool in tools)) throw new Error(`it lists ${Object.keys(tools).join(', ') || 'no tools'}`);
    const { thread } = await ask('thread/start', { cwd: home });
    const result = await ask('mcpServer/tool/call', { threadId: thread.id, server: 'desk', tool: script.tool, arguments: {} });
    if (result.isError) throw new Error(result.content[0].text);
  } finally {
    // It writes into its home until it has ended.
    const ended = app.exitCode === null && new Promise((done) => app.on('close', done));
    app.kill();
    await ended;
  }
}

async function door(flags, stranger) {
  const home = mkdtempSync(join(tmpdir(), 'codex-'));
  try {
    await add(flags, home, stranger);
    await used(home);
    return 'works';
  } finally {
    rmSync(home, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }
}

const name = `Codex ${version}`;
const url = ['--url', script.resource];
const { command, args } = script.connect;
await report([
  [name, '`mcp add`, registers itself', 'bearer', () => door([...url, '--oauth-client-registration', 'dcr'])],
  [name, '`mcp add`, its vendor\'s metadata document', 'stranger', () => door([...url, '--oauth-client-registration', 'cimd'], true)],
  [name, '`mcp add`, given id', 'bearer', () => door([...url, '--oauth-client-id', script.editor])],
  [name, 'stdio, `remit connect`', 'bound', () => door(['--', command, ...args])],
]);
