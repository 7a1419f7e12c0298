import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Refused, refusalOf } from '@remit/agent';

const record = '0199a1b2-0000-7000-8000-000000000000';
const said = { code: 'argument_not_granted', reason: '`status` is not granted', record };
const data = { ...said, index: 17 };
const meta = { 'remit/code': said.code, 'remit/reason': said.reason, 'remit/record': record };
const words = `${said.reason} [${said.code}, record ${record}]`;

for (const [what, error] of Object.entries({
  'an error of the token endpoint': new Refused(400, { remit_code: said.code, error_description: said.reason, remit_record: record }),
  'an MCP error': Object.assign(new Error('denied'), { code: -31403, data }),
  'a JSON-RPC answer': { jsonrpc: '2.0', error: { code: -31403, message: 'denied', data } },
  'a tool result': { isError: true, content: [], _meta: meta },
  'a JSON-RPC answer with a tool result': { result: { isError: true, _meta: meta } },
  'an error around another': new Error('tool failed', { cause: Object.assign(new Error('denied'), { data }) }),
  'an SDK error with the answer in its message': new Error(`Error POSTing to endpoint: ${JSON.stringify({ error: { code: -31401, data } })}`),
  'the text that a model reads': words,
  'a tool result without its _meta': { isError: true, content: [{ type: 'text', text: words }] },
})) {
  test(`a refusal is found in ${what}`, () => assert.deepEqual(refusalOf(error), said));
}

for (const other of [undefined, null, 7, 'fine', new Error('fine'), new Error('see {this}'), { content: [{ type: 'text', text: 'fine [1]' }] }]) {
  test(`there is no refusal in ${String(other)}`, () => assert.equal(refusalOf(other), undefined));
}
