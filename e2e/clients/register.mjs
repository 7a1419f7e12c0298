// Registers a public client over the admin API: an agent without a key of its own, which the command line does not make.
//
// Script: {issuer, admin_token_file, agent: {name, owner, redirect_uris, authorization_details}}. Prints the agent.
import { readFileSync } from 'node:fs';

const { issuer, admin_token_file: file, agent } = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const headers = { authorization: `Bearer ${readFileSync(file, 'utf8').trim()}`, 'content-type': 'application/json' };
const response = await fetch(`${issuer}/admin/v1/agents`, { method: 'POST', headers, body: JSON.stringify({ ...agent, keys: [] }) });
const body = await response.text();
if (!response.ok) throw new Error(`${response.status}: ${body}`);
console.log(body);
