// Does with the TypeScript library what a test says, a line of JSON at a time; see drive.py, which does the same.
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { KeyUnusable, remitAgent, RemitError } from '@remit/agent';

const agents = new Map();
const described = new Map();

const operations = {
  agent(to) {
    described.set(to.as, { issuer: to.issuer, agent: to.name, key: keyIn(to.key_file) });
    agents.set(to.as, remitAgent(described.get(to.as)));
  },
  async login({ as, agent, resource, scope, authorization_details, purpose, ...person }) {
    const signIn = { resource, scope, authorization_details, purpose, openUrl: (url) => browse({ ...person, url }) };
    const made = remitAgent({ ...described.get(agent), signIn });
    await made.signIn();
    agents.set(as, made);
  },
  child({ as, parent, agent, scope, authorization_details, requested_lifetime, purpose }) {
    agents.set(as, agents.get(parent).child(agents.get(agent), { scope, authorization_details, requested_lifetime, purpose }));
  },
  token: ({ agent, resource }) => agents.get(agent).token(resource),
  async post({ agent, url, body, headers, times = 1 }) {
    const sent = { 'content-type': 'application/json', accept: 'application/json, text/event-stream', ...headers };
    const one = async () => {
      const answer = await agents.get(agent).fetch(url, { method: 'POST', headers: sent, body: JSON.stringify(body) });
      return { status: answer.status, session: answer.headers.get('mcp-session-id'), body: bodyOf(await answer.text()) };
    };
    return Promise.all(Array.from({ length: times }, one));
  },
};

/** The library takes the key itself; that a file cannot be read is for its user. */
function keyIn(file) {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new KeyUnusable(`${file}: ${error.message}`);
  }
}

/** A person at headless Chromium. */
async function browse(person) {
  const script = join(mkdtempSync(join(tmpdir(), 'person-')), 'script.json');
  writeFileSync(script, JSON.stringify(person));
  await promisify(execFile)('node', [join(import.meta.dirname, '..', 'consent.mjs'), script]);
}

/** JSON, also where it comes as an event. */
function bodyOf(text) {
  const last = text.split('\n').findLast((line) => line.startsWith('data:'));
  try {
    return JSON.parse(last ? last.slice('data:'.length) : text);
  } catch {
    return text;
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const to = JSON.parse(line);
  try {
    console.log(JSON.stringify({ done: (await operations[to.op](to)) ?? null }));
  } catch (error) {
    if (!(error instanceof RemitError)) throw error;
    console.log(JSON.stringify({ refused: { kind: error.name, code: error.code ?? null, text: error.message } }));
  }
}
process.exit(0);
