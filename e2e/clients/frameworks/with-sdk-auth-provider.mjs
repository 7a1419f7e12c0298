// The official TypeScript client with the library's OAuth provider: the SDK signs the proofs with the agent's key.
//
// It has no model, and plays the turns of scenario.py as they come.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { authProvider } from '@remit/agent';
import { agent, connect, FINAL_TEXT, next, report } from './scenario.mjs';

const client = new Client({ name: 'remit-e2e-clerk', version: '1' }, { versionNegotiation: { mode: { pin: '2026-07-28' } } });
await client.connect(new StreamableHTTPClientTransport(new URL(connect.url), { authProvider: authProvider(agent(), connect.url) }));
await client.listTools();
let results = [];
for (let calls = await next(results); calls.length > 0; calls = await next(results)) {
  results = await Promise.all(calls.map(({ name, arguments: args }) => client.callTool({ name, arguments: args })));
}
await client.close();
report(FINAL_TEXT);
