// A person signs in at headless Chromium and lets an agent act; prints the token answer, bound to the agent's own key.
//
// Script: {issuer, resource, scope, agent, agent_key, user, password}
import { createPrivateKey, createPublicKey, webcrypto } from 'node:crypto';
import { readFileSync } from 'node:fs';
import * as oidc from 'openid-client';
import { callback, consent } from './person.mjs';

const script = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const pem = createPrivateKey(readFileSync(script.agent_key));
const jwk = pem.export({ format: 'jwk' });
const kind = jwk.kty === 'OKP' ? { name: 'Ed25519' } : { name: 'ECDSA', namedCurve: 'P-256' };
const keys = {
  privateKey: await webcrypto.subtle.importKey('jwk', jwk, kind, false, ['sign']),
  publicKey: await webcrypto.subtle.importKey('jwk', createPublicKey(pem).export({ format: 'jwk' }), kind, true, ['verify']),
};
const config = await oidc.discovery(new URL(script.issuer), script.agent, undefined, oidc.PrivateKeyJwt(keys.privateKey), {
  execute: [oidc.allowInsecureRequests], algorithm: 'oauth2',
});
const DPoP = oidc.getDPoPHandle(config, keys);
const to = await callback();
const [verifier, state] = [oidc.randomPKCECodeVerifier(), oidc.randomState()];
const url = oidc.buildAuthorizationUrl(config, {
  redirect_uri: to.uri, scope: script.scope, resource: script.resource, state,
  code_challenge: await oidc.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
});
const decided = await consent(url.href, to, script);
const checks = { pkceCodeVerifier: verifier, expectedState: state };
console.log(JSON.stringify(await oidc.authorizationCodeGrant(config, decided.url, checks, { resource: script.resource }, { DPoP })));
