// Compiles only if index.d.ts says what a user relies on; nothing here runs.
import { readFileSync } from 'node:fs';
import { authProvider, langchainTools, mastraFetch, Refused, refusalOf, RemitAgent, RemitError, remitAgent } from '@remit/agent';

const signIn = { resource: 'https://gw.example/mcp/desk', openUrl: console.log, purpose: 'weekly report' };
const agent: RemitAgent = remitAgent({ issuer: 'https://gw.example', agent: 'planner', key: readFileSync('planner.pem'), signIn });
const child: RemitAgent = agent.child(agent, { scope: 'desk:read', requested_lifetime: 60, authorization_details: [{}] });
export const asFetch: typeof globalThis.fetch = child.fetch;
export const provider = authProvider(agent, new URL('https://gw.example/mcp/desk'));
export const ofMastra: Promise<Response> = mastraFetch((context) => context.agent)('https://gw.example', {}, { agent });
export const ofLangChain: Promise<{ tools: unknown[] }> = langchainTools({ name: 'desk', url: 'https://gw.example' }, agent);
export const code: string | undefined = refusalOf(new Error('no'))?.code;

export async function token(): Promise<string> {
  try {
    return await agent.token('https://gw.example/mcp/desk', { ended: 'old', lasting: 60 });
  } catch (error) {
    if (error instanceof Refused) return `${error.code} ${error.status} ${error.record ?? ''}`;
    const last: RemitError | undefined = agent.refusal;
    throw last;
  }
}

// @ts-expect-error an agent has an issuer
remitAgent({ agent: 'planner', key: 'pem' });
// @ts-expect-error a child is an agent, not a name
agent.child('summarizer');
