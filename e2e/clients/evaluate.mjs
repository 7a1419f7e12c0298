// An enforcement point: reads the metadata, asks each question by itself, then all at once. Usage: node evaluate.mjs SCRIPT
import { readFileSync } from 'node:fs';
import { dpopFetch } from './dpop.mjs';

const { issuer, token, key_file: keyFile, questions } = JSON.parse(readFileSync(process.argv[2]));
const metadata = await (await fetch(`${issuer}/.well-known/authzen-configuration`)).json();
if (metadata.policy_decision_point !== issuer) throw new Error(`the metadata is that of ${metadata.policy_decision_point}`);
const fetchAs = await dpopFetch(token, keyFile);

async function ask(url, body) {
  const answer = await fetchAs(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-request-id': 'e2e-1' },
    body: JSON.stringify(body),
  });
  const text = await answer.text();
  return { status: answer.status, id: answer.headers.get('x-request-id'), body: answer.ok ? JSON.parse(text) : text };
}

const each = [];
for (const question of questions) each.push(await ask(metadata.access_evaluation_endpoint, question));
const all = await ask(metadata.access_evaluations_endpoint, { evaluations: questions });
console.log(JSON.stringify({ each, all }));
