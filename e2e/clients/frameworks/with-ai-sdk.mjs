// `ai` and `@ai-sdk/mcp` with a mock language model; see scenario.py.
import { createMCPClient } from '@ai-sdk/mcp';
import { Experimental_StdioMCPTransport as StdioTransport } from '@ai-sdk/mcp/mcp-stdio';
import { generateText, stepCountIs } from 'ai';
import { MockLanguageModelV4 } from 'ai/test';
import { agentFetch, connect, FINAL_TEXT, next, overStdio, report, turns } from './scenario.mjs';

const model = new MockLanguageModelV4({
  async doGenerate({ prompt }) {
    const results = prompt.flatMap(({ role, content }) => (role === 'tool' ? content : [])).map(({ output }) => output);
    const calls = await next(results);
    const content = calls.map(({ id, name, arguments: input }) => ({
      type: 'tool-call', toolCallId: id, toolName: name, input: JSON.stringify(input),
    }));
    return {
      content: content.length > 0 ? content : [{ type: 'text', text: FINAL_TEXT }],
      finishReason: { unified: content.length > 0 ? 'tool-calls' : 'stop', raw: undefined },
      usage: { inputTokens: { total: 0 }, outputTokens: { total: 0 } },
      warnings: [],
    };
  },
});

const client = await createMCPClient({
  transport: overStdio
    ? new StdioTransport({ command: connect.command, args: connect.args })
    : { type: 'http', url: connect.url, fetch: agentFetch() },
});
const { text } = await generateText({
  model, tools: await client.tools(), prompt: 'Look after the tickets.', stopWhen: stepCountIs(turns.length + 2),
});
await client.close();
report(text);
