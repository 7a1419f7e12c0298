// The official TypeScript client 2.x, pinned to revision 2026-07-28: stateless, every request carries its version.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { dpopFetch } from './dpop.mjs';
import { play, script } from './play.mjs';

const { command, args, env, url, token, key_file } = script.connect;
const transport = command
  ? new StdioClientTransport({ command, args, env: { ...process.env, ...env }, stderr: 'inherit' })
  : new StreamableHTTPClientTransport(new URL(url), token ? { fetch: await dpopFetch(token, key_file) } : {});
const client = new Client({ name: 'remit-e2e-modern', version: '1' }, { versionNegotiation: { mode: { pin: '2026-07-28' } } });
await client.connect(transport);
await play(client, () => client.getNegotiatedProtocolVersion(), (c, params, options) => c.callTool(params, options));
