// The official TypeScript SDK 1.x over stdio, one command at a time: a line of JSON in, a line of JSON out.
//
// Script: {connect: {command, args}}. Commands: {list: true}, {call: {name, arguments}}, {close: true}.
// The first line out is {connected: {server}}; {notified} lines tell of list changes, {stderr} of sign-in URLs.
import { createInterface } from 'node:readline';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { ToolListChangedNotificationSchema } from '@modelcontextprotocol/sdk/types.js';
import { script } from './play.mjs';

const say = (value) => console.log(JSON.stringify(value));
const transport = new StdioClientTransport({ command: script.connect.command, args: script.connect.args, env: process.env, stderr: 'inherit' });
const client = new Client({ name: 'remit-e2e-bridge', version: '1' });
client.setNotificationHandler(ToolListChangedNotificationSchema, () => say({ notified: 'tools' }));
await client.connect(transport);
say({ connected: client.getServerVersion(), pid: transport.pid });
for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  try {
    if (command.list) say({ tools: (await client.listTools()).tools.map((tool) => tool.name) });
    if (command.call) say({ result: await client.callTool(command.call) });
    if (command.close) break;
  } catch (error) {
    say({ error: { code: error.code, message: error.message } });
  }
}
await client.close();
