// DPoP as the official client package does it, for a token that was obtained elsewhere.
import { DpopSession, withDpop } from '@modelcontextprotocol/client';
import { createHash, createPrivateKey, webcrypto } from 'node:crypto';
import { readFileSync } from 'node:fs';

const KINDS = {
  EC: { alg: 'ES256', algorithm: { name: 'ECDSA', namedCurve: 'P-256' }, members: ['crv', 'kty', 'x', 'y'] },
  OKP: { alg: 'EdDSA', algorithm: { name: 'Ed25519' }, members: ['crv', 'kty', 'x'] },
};

/** A `fetch` that presents `token` bound to the private key in a PEM file, retrying once when the server wants its nonce. */
export async function dpopFetch(token, keyFile) {
  const key = createPrivateKey(readFileSync(keyFile)).export({ format: 'jwk' });
  const { alg, algorithm, members } = KINDS[key.kty];
  const publicJwk = Object.fromEntries(members.map((name) => [name, key[name]]));
  const keyPair = {
    alg,
    publicJwk,
    // RFC 7638: the required members in alphabetical order.
    thumbprint: createHash('sha256').update(JSON.stringify(publicJwk)).digest('base64url'),
    privateKey: await webcrypto.subtle.importKey('jwk', key, algorithm, false, ['sign']),
    publicKey: await webcrypto.subtle.importKey('jwk', publicJwk, algorithm, true, ['verify']),
  };
  const session = await DpopSession.create({ keyPair });
  return withDpop(session, () => token)(fetch);
}
