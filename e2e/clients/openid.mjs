// openid-client against Remit: discovery, code with PKCE, DPoP with nonce retry, refresh, token exchange – with a person at
// a real browser for the part that is theirs. Prints one JSON object.
//
// Script: {issuer, resource, details, agent, agent_key, child, child_key, user, password, shots} with key files in PEM.
import { createPrivateKey, webcrypto } from 'node:crypto';
import { readFileSync } from 'node:fs';
import * as oidc from 'openid-client';
import { callback, consent } from './person.mjs';

const script = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';

async function client(id, keyFile) {
  const jwk = createPrivateKey(readFileSync(keyFile)).export({ format: 'jwk' });
  const kind = jwk.kty === 'OKP' ? { name: 'Ed25519' } : { name: 'ECDSA', namedCurve: 'P-256' };
  const key = await webcrypto.subtle.importKey('jwk', jwk, kind, false, ['sign']);
  const issuer = new URL(script.issuer);
  const metadata = await (await fetch(new URL('/.well-known/openid-configuration', issuer))).json();
  const signedWith = metadata.id_token_signing_alg_values_supported[0];
  const config = await oidc.discovery(issuer, id, { id_token_signed_response_alg: signedWith }, oidc.PrivateKeyJwt(key), {
    execute: [oidc.allowInsecureRequests],
  });
  // Counts what a nonce challenge costs: the first request of a fresh handle is answered by one.
  let challenges = 0;
  config[oidc.customFetch] = async (...request) => {
    const response = await fetch(...request);
    const text = response.status >= 400 ? await response.clone().text() : '';
    if (text.includes('use_dpop_nonce') || (response.headers.get('www-authenticate') ?? '').includes('use_dpop_nonce')) challenges += 1;
    return response;
  };
  const DPoP = oidc.getDPoPHandle(config, await oidc.randomDPoPKeyPair('ES256'));
  return { config, DPoP, challenges: () => challenges };
}

const claims = (token) => JSON.parse(Buffer.from(token.split('.')[1], 'base64url'));

async function call(agent, token, name, args) {
  const body = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name, arguments: args, _meta: {
    'io.modelcontextprotocol/protocolVersion': '2026-07-28', 'io.modelcontextprotocol/clientCapabilities': {} } } };
  const headers = new Headers({ 'content-type': 'application/json', accept: 'application/json, text/event-stream',
    'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/call', 'mcp-name': name });
  try {
    const response = await oidc.fetchProtectedResource(agent.config, token, new URL(script.resource), 'POST', JSON.stringify(body), headers, { DPoP: agent.DPoP });
    return { status: response.status, body: await response.json() };
  } catch (error) {
    return { status: error.response?.status ?? error.status, body: error.cause ?? String(error) };
  }
}

const planner = await client(script.agent, script.agent_key);
const to = await callback();
const [verifier, state, nonce] = [oidc.randomPKCECodeVerifier(), oidc.randomState(), oidc.randomNonce()];
const url = oidc.buildAuthorizationUrl(planner.config, {
  redirect_uri: to.uri, scope: 'openid', authorization_details: JSON.stringify(script.details), resource: script.resource, state, nonce,
  code_challenge: await oidc.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
});
const decided = await consent(url.href, to, script);
const checks = { pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce, idTokenExpected: true };
const first = await oidc.authorizationCodeGrant(planner.config, decided.url, checks, { resource: script.resource }, { DPoP: planner.DPoP });
const report = { read: decided.read, token_type: first.token_type, access: claims(first.access_token), id: first.claims(), challenges: planner.challenges() };

const refreshed = await oidc.refreshTokenGrant(planner.config, first.refresh_token, { resource: script.resource }, { DPoP: planner.DPoP });
report.refreshed = claims(refreshed.access_token);
report.rotated = refreshed.refresh_token !== undefined && refreshed.refresh_token !== first.refresh_token;
report.called = await call(planner, refreshed.access_token, 'tickets_read', { id: 'T-1001' });

const narrowed = await oidc.genericGrantRequest(planner.config, EXCHANGE, {
  subject_token: refreshed.access_token, subject_token_type: ACCESS_TOKEN, resource: script.resource, scope: 'helpdesk:tickets_read',
}, { DPoP: planner.DPoP });
report.narrowed = claims(narrowed.access_token);

// The child says who it is with a token of its own for the issuer; the parent, which holds the authority, asks.
const child = await client(script.child, script.child_key);
const identity = await oidc.clientCredentialsGrant(child.config, { resource: script.issuer }, { DPoP: child.DPoP });
const handed = await oidc.genericGrantRequest(planner.config, EXCHANGE, {
  subject_token: refreshed.access_token, subject_token_type: ACCESS_TOKEN, actor_token: identity.access_token, actor_token_type: ACCESS_TOKEN,
  resource: script.resource, scope: 'helpdesk:tickets_read',
}, { DPoP: planner.DPoP });
report.handed = claims(handed.access_token);
report.child_called = await call(child, handed.access_token, 'tickets_read', { id: 'T-1002' });
report.child_refused = await call(child, handed.access_token, 'customers_read', { id: 'C-001' });
report.stolen = await call(planner, handed.access_token, 'tickets_read', { id: 'T-1002' });

// A refresh token that was used: the whole family ends.
report.replayed = await oidc.refreshTokenGrant(planner.config, first.refresh_token, { resource: script.resource }, { DPoP: planner.DPoP })
  .then(() => 'accepted', (error) => error.error ?? String(error));
console.log(JSON.stringify(report));
