// Unmodified OAuth libraries at the front door: oauth4webapi and openid-client, with and without DPoP.
//
// Script: as doors/mod.rs makes it; prints a list of {client, mode, kind, result | words}.
import { createPrivateKey, webcrypto } from 'node:crypto';
import { readFileSync } from 'node:fs';
import * as oauth from 'oauth4webapi';
import * as openid from 'openid-client';
import { installed, report, script } from './door.mjs';
import { answered, decide } from './person-http.mjs';

const insecure = { [oauth.allowInsecureRequests]: true };
const SCOPE = `helpdesk:${script.tool}`;

async function signingKey(file) {
  const jwk = createPrivateKey(readFileSync(file)).export({ format: 'jwk' });
  return webcrypto.subtle.importKey('jwk', jwk, { name: 'Ed25519' }, false, ['sign']);
}

/** Sends `send` again where the server wants its nonce first, which oauth4webapi leaves to the application. */
async function once(send) {
  try {
    return await send();
  } catch (error) {
    if (!oauth.isDPoPNonceError(error)) throw error;
    return send();
  }
}

/** The MCP request that a library which knows no MCP can send. */
const LISTING = {
  headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream' },
  body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'initialize',
    params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'doors', version: '1' } } }),
};

async function ok(response) {
  const text = await response.text();
  if (response.status !== 200) throw new Error(text);
  return 'works';
}

async function web({ dpop: withProof, machine }) {
  const issuer = new URL(script.issuer);
  const server = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...insecure }));
  const client = { client_id: machine?.id ?? (withProof ? script.signing_editor : script.editor) };
  const DPoP = withProof ? oauth.DPoP(client, await oauth.generateKeyPair('ES256')) : undefined;
  const options = { ...insecure, DPoP };
  const token = machine ? await webMachine(server, client, machine, options) : await webCode(server, client, options);
  const url = new URL(script.resource);
  const headers = new Headers(LISTING.headers);
  const send = () => oauth.protectedResourceRequest(token.access_token, 'POST', url, headers, LISTING.body, options);
  return ok(await once(send));
}

async function webMachine(server, client, { key_file: file }, options) {
  const auth = oauth.PrivateKeyJwt(await signingKey(file));
  const form = { resource: script.resource, scope: SCOPE };
  return once(async () =>
    oauth.processClientCredentialsResponse(server, client, await oauth.clientCredentialsGrantRequest(server, client, auth, form, options)));
}

async function webCode(server, client, options) {
  const verifier = oauth.generateRandomCodeVerifier();
  const state = oauth.generateRandomState();
  const url = new URL(server.authorization_endpoint);
  url.search = new URLSearchParams({
    response_type: 'code', client_id: client.client_id, redirect_uri: script.redirect, resource: script.resource, scope: SCOPE, state,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
  });
  const { location } = await decide(url, script);
  const answer = oauth.validateAuthResponse(server, client, location, state);
  const auth = oauth.None();
  const first = await once(async () => oauth.processAuthorizationCodeResponse(server, client,
    await oauth.authorizationCodeGrantRequest(server, client, auth, answer, script.redirect, verifier, options)));
  return once(async () => oauth.processRefreshTokenResponse(server, client,
    await oauth.refreshTokenGrantRequest(server, client, auth, first.refresh_token, options)));
}

async function certified({ dpop: withProof, machine, flow }) {
  const id = machine?.id ?? (withProof ? script.signing_editor : script.editor);
  const auth = machine ? openid.PrivateKeyJwt(await signingKey(machine.key_file)) : openid.None();
  const config = await openid.discovery(new URL(script.issuer), id, undefined, auth, { algorithm: 'oauth2', execute: [openid.allowInsecureRequests] });
  const DPoP = withProof ? openid.getDPoPHandle(config, await openid.randomDPoPKeyPair('ES256')) : undefined;
  const token = await flow(config, { DPoP });
  const headers = new Headers(LISTING.headers);
  return ok(await openid.fetchProtectedResource(config, token.access_token, new URL(script.resource), 'POST', LISTING.body, headers, { DPoP }));
}

const asked = { resource: script.resource, scope: SCOPE };

async function pushed(config, options) {
  const verifier = openid.randomPKCECodeVerifier();
  const state = openid.randomState();
  const url = await openid.buildAuthorizationUrlWithPAR(config, {
    ...asked, redirect_uri: script.redirect, state, code_challenge: await openid.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
  }, options);
  const decided = await decide(url, script);
  answered(decided);
  const checks = { pkceCodeVerifier: verifier, expectedState: state };
  const first = await openid.authorizationCodeGrant(config, decided.location, checks, undefined, options);
  return openid.refreshTokenGrant(config, first.refresh_token, undefined, options);
}

async function device(config, options) {
  const waiting = await openid.initiateDeviceAuthorization(config, asked);
  await decide(waiting.verification_uri, script, { user_code: waiting.user_code });
  return openid.pollDeviceAuthorizationGrant(config, { ...waiting, interval: 1 }, undefined, options);
}

const machineToMachine = (config, options) => openid.clientCredentialsGrant(config, asked, options);

const [four, six] = ['oauth4webapi', 'openid-client'].map((name) => `${name} ${installed(name)}`);
await report([
  [four, 'code and refresh, DPoP', 'dpop', () => web({ dpop: true })],
  [four, 'code and refresh', 'bearer', () => web({})],
  [four, '`private_key_jwt`, DPoP', 'dpop', () => web({ dpop: true, machine: script.signing_machine })],
  [four, '`private_key_jwt`', 'bearer', () => web({ machine: script.machine })],
  [six, 'pushed request, code and refresh, DPoP', 'dpop', () => certified({ dpop: true, flow: pushed })],
  [six, 'pushed request, code and refresh', 'bearer', () => certified({ flow: pushed })],
  [six, 'device code, DPoP', 'dpop', () => certified({ dpop: true, flow: device })],
  [six, 'device code', 'bearer', () => certified({ flow: device })],
  [six, '`private_key_jwt`, DPoP', 'dpop', () => certified({ dpop: true, machine: script.signing_machine, flow: machineToMachine })],
  [six, '`private_key_jwt`', 'bearer', () => certified({ machine: script.machine, flow: machineToMachine })],
]);
