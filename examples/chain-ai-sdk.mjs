// alice → planner → summarizer with the AI SDK. Arguments: the issuer, and the folder with the agents' keys.
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createMCPClient } from '@ai-sdk/mcp';
import { remitAgent } from '@remit/agent';
import { generateText, jsonSchema, stepCountIs, tool } from 'ai';
import { plannerModel, summarizerModel } from './scripted-ai-sdk.mjs';

const [issuer, keys] = process.argv.slice(2);
const desk = `${issuer}/mcp/helpdesk`;
const identity = (agent) => ({ issuer, agent, key: readFileSync(`${keys}/${agent}.pem`) });
const openUrl = (url) => execFile(process.env.BROWSER ?? 'xdg-open', [url]);
const summarizer = remitAgent(identity('summarizer'));

const delegate = { to: [summarizer.clientId], depth: 1 };
const reading = { type: 'tool_access', locations: [desk], actions: ['tickets_list', 'tickets_read'], delegate };
const signIn = { resource: desk, openUrl, authorization_details: [reading], purpose: 'weekly report' };
const forAlice = remitAgent({ ...identity('planner'), signIn });
const delegated = forAlice.child(summarizer, { scope: 'helpdesk:tickets_read' });

async function ask({ fetch }, model, prompt, more = {}) {
  const client = await createMCPClient({ transport: { type: 'http', url: desk, fetch } });
  const { text } = await generateText({ model, prompt, tools: { ...(await client.tools()), ...more }, stopWhen: stepCountIs(5) });
  await client.close();
  return text;
}

const inputSchema = jsonSchema({ type: 'object', properties: { ticket: { type: 'string' } } });
const execute = ({ ticket }) => ask(delegated, summarizerModel, `Summarize ${ticket}`);
const summary_of = tool({ description: 'What the summarizer says about a ticket', inputSchema, execute });
console.log(await ask(forAlice, plannerModel, 'Report on the tickets', { summary_of }));
