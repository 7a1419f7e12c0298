// The official TypeScript client with its own OAuth: a person signs in at headless Chromium, the client renews by itself.
//
// It has no model, and plays the turns of scenario.py as they come. Its `connect` is {url, client_id, user, password}.
import { Client, DpopSession, StreamableHTTPClientTransport, UnauthorizedError } from '@modelcontextprotocol/client';
import { callback, consent } from '../person.mjs';
import { connect, FINAL_TEXT, next, report } from './scenario.mjs';

const to = await callback();
const dpop = await DpopSession.create();
const kept = {};
const provider = {
  redirectUrl: to.uri,
  clientMetadata: { client_name: 'desktop', redirect_uris: [to.uri], token_endpoint_auth_method: 'none' },
  clientInformation: () => ({ client_id: connect.client_id }),
  tokens: () => kept.tokens,
  saveTokens: (tokens) => { kept.tokens = tokens; },
  codeVerifier: () => kept.verifier,
  saveCodeVerifier: (verifier) => { kept.verifier = verifier; },
  discoveryState: () => kept.discovery,
  saveDiscoveryState: (discovery) => { kept.discovery = discovery; },
  dpop: () => dpop,
  async redirectToAuthorization(url) {
    if (kept.answer) throw new Error('the person is asked to sign in a second time');
    // The metadata suggests the tools that read; this application knows that it changes tickets as well.
    url.searchParams.set('scope', `${url.searchParams.get('scope')} helpdesk:tickets_update`);
    kept.answer = (await consent(url.href, to, connect)).url.searchParams;
  },
};

async function session() {
  const client = new Client({ name: 'remit-e2e-desktop', version: '1' }, { versionNegotiation: { mode: { pin: '2026-07-28' } } });
  const transport = new StreamableHTTPClientTransport(new URL(connect.url), { authProvider: provider });
  try {
    await client.connect(transport);
  } catch (error) {
    if (!(error instanceof UnauthorizedError)) throw error;
    await transport.finishAuth(kept.answer);
    return session();
  }
  return client;
}

const client = await session();
await client.listTools();
let results = [];
for (let calls = await next(results); calls.length > 0; calls = await next(results)) {
  results = await Promise.all(calls.map(({ name, arguments: args }) => client.callTool({ name, arguments: args })));
}
await client.close();
report(FINAL_TEXT);
