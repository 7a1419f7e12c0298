// A client for the conformance suite: our library with the MCP SDK. The suite appends the server's address, and says more in variables.
//
// The library is told its issuer; in place of the person who does that, this program asks the resource for it (RFC 9728).
import { generateKeyPairSync } from 'node:crypto';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { remitAgent } from '@remit/agent';

const resource = process.argv.at(-1);
const context = JSON.parse(process.env.MCP_CONFORMANCE_CONTEXT ?? '{}');

async function issuerOf(resource) {
  const headers = { accept: 'application/json, text/event-stream', 'content-type': 'application/json' };
  const { headers: told } = await fetch(resource, { method: 'POST', headers, body: '{"jsonrpc":"2.0","id":0,"method":"ping"}' });
  const named = /resource_metadata="([^"]*)"/.exec(told.get('www-authenticate') ?? '')?.[1];
  const { pathname, origin } = new URL(resource);
  for (const place of [named, `${origin}/.well-known/oauth-protected-resource${pathname}`, `${origin}/.well-known/oauth-protected-resource`]) {
    const answer = place && (await fetch(place));
    if (answer?.ok) return (await answer.json()).authorization_servers[0];
  }
  throw new Error(`${resource} names no authorization server`);
}

/** A browser in which everything is allowed at once. */
async function openUrl(url) {
  const { headers } = await fetch(url, { redirect: 'manual' });
  await fetch(headers.get('location'));
}

const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256', privateKeyEncoding: { type: 'pkcs8', format: 'pem' }, publicKeyEncoding: { type: 'spki', format: 'pem' } });
const signIn = { resource, scope: 'mcp', openUrl };
const agent = remitAgent({
  issuer: await issuerOf(resource), agent: context.client_id ?? 'conformance', key: context.private_key_pem ?? privateKey,
  ...(!context.private_key_pem && { signIn }),
});
await agent.token(resource);
const client = new Client({ name: 'remit-agent', version: '1' });
await client.connect(new StreamableHTTPClientTransport(new URL(resource), { fetch: agent.fetch }));
const { tools } = await client.listTools();
if (tools.length > 0) await client.callTool({ name: tools[0].name, arguments: {} });
await client.close();
