// The official TypeScript SDK 1.x: revision 2025-11-25.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { dpopFetch } from './dpop.mjs';
import { play, script } from './play.mjs';

const { command, args, env, url, token, key_file } = script.connect;
const transport = command
  ? new StdioClientTransport({ command, args, env: { ...process.env, ...env }, stderr: 'inherit' })
  : new StreamableHTTPClientTransport(new URL(url), token ? { fetch: await dpopFetch(token, key_file) } : {});
let protocol;
// The SDK tells the transport, not its user, which revision was agreed.
transport.setProtocolVersion = ((original) => function (version) {
  protocol = version;
  original?.call(this, version);
})(transport.setProtocolVersion);
const client = new Client({ name: 'remit-e2e-legacy', version: '1' });
await client.connect(transport);
await play(client, () => protocol, (c, params, options) => c.callTool(params, undefined, options));
