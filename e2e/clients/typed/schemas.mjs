// A stdio MCP server whose tools have hand-written output schemas: what JSON Schema can say and generators seldom do.
//
// Every string is VISIBLE or SECRET: whether a grant in typed.rs shows it.
import { Server } from '@modelcontextprotocol/sdk/server/index.js';
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js';
import { CallToolRequestSchema, ListToolsRequestSchema } from '@modelcontextprotocol/sdk/types.js';

const text = { type: 'string' };
const object = (properties, more = {}) => ({ type: 'object', properties, required: Object.keys(properties), ...more });
const pair = object({ shown: text, hidden: text });
const value = { shown: 'VISIBLE', hidden: 'SECRET' };

const TOOLS = {
  all_of: [
    { type: 'object', allOf: [{ $ref: '#/$defs/one' }, object({ second: pair })], $defs: { one: object({ first: pair }) } },
    { first: value, second: value },
  ],
  any_of: [{ type: 'object', anyOf: [object({ other: text }), pair] }, value],
  one_of: [
    { type: 'object', properties: { of: { oneOf: [object({ other: text }, { additionalProperties: false }), pair] } }, required: ['of'] },
    { of: value },
  ],
  conditional: [
    { ...pair, if: { properties: { shown: { const: 'VISIBLE' } } }, then: { required: ['hidden'], properties: { hidden: { const: 'SECRET' } } } },
    value,
  ],
  counted: [{ ...pair, minProperties: 2 }, value],
  dependent: [{ type: 'object', properties: pair.properties, dependentRequired: { shown: ['hidden'] } }, value],
  closed: [{ ...pair, additionalProperties: false }, value],
  open: [{ type: 'object', additionalProperties: pair }, { x: value, y: value }],
  patterned: [{ type: 'object', patternProperties: { '^[a-z]$': pair }, additionalProperties: false }, { x: value }],
  listed: [object({ rows: { type: 'array', minItems: 2, items: pair } }), { rows: [value, value] }],
  contained: [object({ rows: { type: 'array', contains: object({ hidden: { const: 'SECRET' } }) } }), { rows: [value] }],
  unique: [object({ rows: { type: 'array', uniqueItems: true, items: pair } }), { rows: [value, { ...value, hidden: 'SECRET too' }] }],
  escaped: [
    object({ 'a/b': pair, 'c~d': { $ref: '#/$defs/e~1f' } }, { $defs: { 'e/f': pair } }),
    { 'a/b': value, 'c~d': value },
  ],
  recursive: [
    object({ shown: text, hidden: text, next: { anyOf: [{ $ref: '#' }, { type: 'null' }] } }),
    { ...value, next: { ...value, next: null } },
  ],
};

const server = new Server({ name: 'schemas', version: '1' }, { capabilities: { tools: {} } });
server.setRequestHandler(ListToolsRequestSchema, () => ({
  tools: Object.entries(TOOLS).map(([name, [outputSchema]]) => ({ name, inputSchema: { type: 'object' }, outputSchema })),
}));
server.setRequestHandler(CallToolRequestSchema, ({ params: { name } }) => {
  const [, structuredContent] = TOOLS[name];
  return { content: [{ type: 'text', text: JSON.stringify(structuredContent) }], structuredContent };
});
await server.connect(new StdioServerTransport());
