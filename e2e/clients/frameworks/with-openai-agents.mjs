// `@openai/agents` with a `Model` of its own; see scenario.py.
import { Agent, MCPServerStdio, MCPServerStreamableHttp, run, setTracingDisabled, Usage } from '@openai/agents';
import { agentFetch, connect, FINAL_TEXT, next, overStdio, report, turns } from './scenario.mjs';

setTracingDisabled(true);

const model = {
  async getResponse({ input }) {
    const items = typeof input === 'string' ? [] : input;
    const calls = await next(items.filter(({ type }) => type === 'function_call_result').map(({ output }) => output));
    const output = calls.map(({ id, name, arguments: args }) => ({
      type: 'function_call', callId: id, name, status: 'completed', arguments: JSON.stringify(args),
    }));
    const last = { type: 'message', role: 'assistant', status: 'completed', content: [{ type: 'output_text', text: FINAL_TEXT }] };
    return { usage: new Usage(), output: output.length > 0 ? output : [last] };
  },
  getStreamedResponse() {
    throw new Error('this model does not stream');
  },
};

const server = overStdio
  ? new MCPServerStdio({ command: connect.command, args: connect.args, clientSessionTimeoutSeconds: 60 })
  : new MCPServerStreamableHttp({ url: connect.url, fetch: agentFetch(), clientSessionTimeoutSeconds: 60 });
await server.connect();
const agent = new Agent({ name: 'clerk', model, mcpServers: [server] });
const result = await run(agent, 'Look after the tickets.', { maxTurns: turns.length + 2 });
await server.close();
report(result.finalOutput);
