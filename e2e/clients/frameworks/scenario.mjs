// A scripted model: which tools it calls, turn by turn, and the results it sees. scenario.py describes script and output.
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { remitAgent } from '@remit/agent';

export const FINAL_TEXT = 'done';
const script = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const seen = [];
let turn = 0;

export const { connect, turns } = script;
export const overStdio = 'command' in connect;

/** The agent that the script names. */
export const agent = () => remitAgent({ issuer: connect.issuer, agent: connect.agent, key: readFileSync(connect.key_file) });

/** Its `fetch`. */
export const agentFetch = () => agent().fetch;

/** Takes all tool results so far and returns the calls of the next turn, none at the end. */
export async function next(results) {
  if (turn > 0) seen.push(results.slice(-turns[turn - 1].calls.length).map(asText));
  if (turn === turns.length) return [];
  const { pause, calls } = turns[turn];
  turn += 1;
  if (pause) {
    console.log(JSON.stringify({ pause }));
    await answers.next();
  }
  return calls.map((call, place) => ({ id: `call-${turn}-${place}`, ...call }));
}

export function report(text) {
  process.stdout.write(`${JSON.stringify({ seen, final_text: text })}\n`, () => process.exit(0));
}

const asText = (result) => (typeof result === 'string' ? result : JSON.stringify(result));
