// One registered agent at the token endpoint: its key, and what the key signs (RFC 7523, RFC 9449).
import { createHash, createPrivateKey, createPublicKey, randomUUID, sign } from 'node:crypto';
import { KeyUnusable, Refused, Unreachable } from './errors.js';
import { metadataOf } from './metadata.js';

const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';
/** Longest wait for the token endpoint, in milliseconds. */
const TIMEOUT = 30_000;

export function tokenClient({ issuer: named, agent, key }) {
  const issuer = named.replace(/\/+$/, '');
  // Other forms than `agent:NAME` are those of clients that registered themselves.
  const clientId = agent.includes(':') ? agent : `agent:${agent}`;
  const signer = jwtSigner(key, clientId);
  const nonces = new Map();
  let found;

  /** What the server says of itself, asked once. */
  async function metadata() {
    found ??= metadataOf(issuer);
    try {
      return await found;
    } catch (error) {
      found = undefined;
      throw error;
    }
  }

  /** Shows that one request comes from the holder of the key. */
  function proof(method, url, token) {
    const nonce = nonces.get(url);
    const claims = { htm: method, htu: url, ...(token && { ath: digest(token) }), ...(nonce && { nonce }) };
    return signer.sign({ typ: 'dpop+jwt', jwk: signer.publicJwk }, claims);
  }

  /** Whether the server gave a nonce for the next proof. */
  function rememberNonce(url, response) {
    const nonce = response.headers.get('dpop-nonce');
    if (nonce) nonces.set(url, nonce);
    return nonce !== null;
  }

  /** Says which client sends a token request. */
  function authentication() {
    const claims = { iss: clientId, sub: clientId, aud: issuer, exp: now() + 60 };
    const assertion = signer.sign({ typ: 'client-authentication+jwt' }, claims);
    return { client_id: clientId, client_assertion_type: ASSERTION_TYPE, client_assertion: assertion };
  }

  /** Sends one token request; throws `Refused` or `Unreachable`. */
  async function request(form) {
    const { token_endpoint: endpoint } = await metadata();
    let answer;
    for (let attempt = 0; attempt < 3; attempt += 1) {
      answer = await post(endpoint, { ...form, ...authentication() });
      if (answer.status === 200) return answer.body;
      if (answer.body.error !== 'use_dpop_nonce') break;
    }
    throw new Refused(answer.status, answer.body);
  }

  async function post(endpoint, form) {
    try {
      const response = await fetch(endpoint, {
        method: 'POST', body: new URLSearchParams(form), headers: { dpop: proof('POST', endpoint) },
        redirect: 'error', signal: AbortSignal.timeout(TIMEOUT),
      });
      rememberNonce(endpoint, response);
      return { status: response.status, body: await response.json() };
    } catch (error) {
      const why = error.cause?.message ?? error.message;
      throw new Unreachable(`no answer from ${endpoint}: ${why}; check the issuer, and that the server runs`, { cause: error });
    }
  }

  return { issuer, clientId, signer, nonces, metadata, proof, rememberNonce, authentication, request };
}

/** Signs compact JWTs with a PEM key, P-256 or Ed25519. */
function jwtSigner(pem, clientId) {
  let key;
  try {
    key = createPrivateKey(typeof pem === 'string' ? pem : Buffer.from(pem));
  } catch (error) {
    const words = `the key of ${clientId} is no unencrypted private key in PEM: give what \`remit agent add\` wrote, not its path`;
    throw new KeyUnusable(words, { cause: error });
  }
  const { kty, crv, x, y } = createPublicKey(key).export({ format: 'jwk' });
  const alg = { 'P-256': 'ES256', Ed25519: 'EdDSA' }[crv];
  if (!alg) throw new KeyUnusable(`the key of ${clientId} is ${crv ?? kty}; Remit's agents use P-256 or Ed25519`);
  const publicJwk = { crv, kty, x, ...(y && { y }) };
  return {
    alg,
    publicJwk,
    // RFC 7638: the required members in alphabetical order.
    thumbprint: digest(JSON.stringify(publicJwk)),
    sign(header, claims) {
      const parts = [{ alg, ...header }, { jti: randomUUID(), iat: now(), ...claims }];
      const input = parts.map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');
      const hash = alg === 'ES256' ? 'sha256' : undefined;
      return `${input}.${sign(hash, Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`;
    },
  };
}

/** The form parameters that say what is asked for. */
export function parameters({ scope, authorization_details: details, purpose }) {
  return {
    ...(scope && { scope }), ...(purpose && { purpose }),
    ...(details && { authorization_details: JSON.stringify(details) }),
  };
}

export const digest = (text) => createHash('sha256').update(text).digest('base64url');
export const now = () => Math.floor(Date.now() / 1000);
