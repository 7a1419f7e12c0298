// oidc-provider as a token endpoint that does what ours does, as far as it goes: client_credentials with private_key_jwt and
// a DPoP proof, answered with a signed JWT. What it issues it keeps in memory, and it records nothing.
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Provider } from 'oidc-provider';

const [port, jwkFile, clientId] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const audience = 'https://bench.example/mcp';
const own = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' });
const client = JSON.parse(readFileSync(jwkFile, 'utf8'));

const provider = new Provider(issuer, {
  jwks: { keys: [{ ...own, alg: 'ES256', use: 'sig', kid: 'own' }] },
  clients: [{
    client_id: clientId,
    token_endpoint_auth_method: 'private_key_jwt',
    token_endpoint_auth_signing_alg: 'ES256',
    id_token_signed_response_alg: 'ES256',
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
    jwks: { keys: [client] },
  }],
  clientAuthMethods: ['private_key_jwt'],
  enabledJWA: {
    clientAuthSigningAlgValues: ['ES256'], dPoPSigningAlgValues: ['ES256'], idTokenSigningAlgValues: ['ES256'],
  },
  scopes: ['bench:small', 'bench:large'],
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    dPoP: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => audience,
      getResourceServerInfo: () => ({
        scope: 'bench:small bench:large', audience, accessTokenFormat: 'jwt', accessTokenTTL: 600,
        jwt: { sign: { alg: 'ES256' } },
      }),
    },
  },
  ttl: { ClientCredentials: 600 },
});
provider.on('server_error', (_, error) => console.error(error));
provider.listen(Number(port), '127.0.0.1', () => console.log('ready'));
