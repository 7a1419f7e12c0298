// Stands in for two language models: each asks for the next tool of its list, then answers with the last results.
import { MockLanguageModelV4 } from 'ai/test';

const scripted = (calls) => new MockLanguageModelV4({
  async doGenerate({ prompt }) {
    const results = prompt.flatMap(({ role, content }) => (role === 'tool' ? content : [])).map(({ output }) => JSON.stringify(output));
    const [toolName, input] = calls[results.length] ?? [];
    const text = results.map((result) => result.slice(0, 300)).join(' | ');
    const call = { type: 'tool-call', toolCallId: toolName, toolName, input: JSON.stringify(input) };
    return {
      content: [toolName ? call : { type: 'text', text }],
      finishReason: { unified: toolName ? 'tool-calls' : 'stop', raw: undefined },
      usage: { inputTokens: { total: 0 }, outputTokens: { total: 0 } },
      warnings: [],
    };
  },
});

export const plannerModel = scripted([['tickets_list', {}], ['summary_of', { ticket: 'T-1001' }]]);
export const summarizerModel = scripted([['tickets_read', { id: 'T-1001' }]]);
