// What single frameworks need beside a `fetch`.
import { inside } from './agent.js';
import { RemitError } from './errors.js';
import { withoutQuery } from './agent-fetch.js';

/** An OAuth provider with `dpop()` for MCP SDK 2.4: tokens are the agent's, proofs are signed with its key. */
export function authProvider(agent, resource) {
  const { client, grant, keep } = inside(agent);
  const url = String(resource);
  return {
    redirectUrl: undefined,
    clientMetadata: { client_name: client.clientId, redirect_uris: [], token_endpoint_auth_method: 'private_key_jwt' },
    clientInformation: () => ({ client_id: client.clientId }),
    tokens: async () => ({ access_token: await agent.token(url), token_type: 'DPoP' }),
    saveTokens: (answer) => keep(url, answer),
    addClientAuthentication: (headers, params) => {
      for (const [name, value] of Object.entries(client.authentication())) params.set(name, value);
    },
    /** After a 401 the SDK asks for a token itself, with the agent's own grant. */
    prepareTokenRequest: () => {
      if (!grant) throw new RemitError(`the token of ${client.clientId} was refused; give the transport \`fetch: agent.fetch\``);
      const { resource: _, ...form } = grant(url);
      return new URLSearchParams(form);
    },
    validateResourceURL: async () => new URL(url),
    dpop: () => dpopSession(client),
    redirectToAuthorization: () => notInteractive(),
    saveCodeVerifier: () => notInteractive(),
    codeVerifier: () => notInteractive(),
  };
}

/** What the SDK calls on its own `DpopSession`. */
function dpopSession({ signer, nonces, proof, rememberNonce }) {
  const { alg, publicJwk, thumbprint } = signer;
  return {
    alg, publicJwk, thumbprint,
    nonceFor: (url) => nonces.get(withoutQuery(url)),
    rememberNonce: (url, nonce) => nonces.set(withoutQuery(url), nonce),
    observeNonce: (response, url) => void rememberNonce(withoutQuery(url), response),
    buildProof: async ({ htm, htu, accessToken }) => proof(htm.toUpperCase(), withoutQuery(htu), accessToken),
  };
}

function notInteractive() {
  throw new RemitError('people sign in through `signIn` of remitAgent, not through the SDK');
}

/** Mastra calls `fetch` with its request context, so one server definition serves many agents. */
export function mastraFetch(pick) {
  return (url, init, requestContext) => {
    const agent = pick(requestContext);
    if (!agent) throw new RemitError('no agent acts for this request: `pick` returned none');
    return agent.fetch(url, init);
  };
}

/** LangChain's own client takes no `fetch`, so this connects the MCP SDK's. */
export async function langchainTools({ name, url }, agent) {
  const { Client } = await import('@modelcontextprotocol/sdk/client/index.js');
  const { StreamableHTTPClientTransport } = await import('@modelcontextprotocol/sdk/client/streamableHttp.js');
  const { loadMcpTools } = await import('@langchain/mcp-adapters');
  const client = new Client({ name: agent.clientId, version: '1' });
  await client.connect(new StreamableHTTPClientTransport(new URL(url), { fetch: agent.fetch }));
  return { tools: await loadMcpTools(name, client), client };
}
