// An OpenID Connect provider (npm `oidc-provider`): whoever gives a name is that person.
//
// Script: {port, alg, client (its metadata), groups: {NAME: [...]}}; says `ready` when it listens, and runs until it is ended.
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Provider } from 'oidc-provider';

const { port, alg, client, groups } = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const pair = alg === 'ES256' ? generateKeyPairSync('ec', { namedCurve: 'P-256' }) : generateKeyPairSync('rsa', { modulusLength: 2048 });
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{ grant_types: ['authorization_code'], response_types: ['code'], id_token_signed_response_alg: alg, ...client }],
  jwks: { keys: [{ ...pair.privateKey.export({ format: 'jwk' }), alg, use: 'sig', kid: `${alg}-${port}` }] },
  pkce: { required: () => true },
  cookies: { keys: ['only for tests on loopback'] },
  claims: { openid: ['sub'], profile: ['name', 'groups'] },
  // The claims of `profile` in the ID token, where Remit reads them.
  conformIdTokenClaims: false,
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, name: id, groups: groups[id] ?? [] }) }),
  enabledJWA: {
    idTokenSigningAlgValues: ['RS256', 'ES256'], clientAuthSigningAlgValues: ['ES256', 'EdDSA', 'Ed25519'],
  },
});
provider.listen(port, '127.0.0.1', () => console.log('ready'));
