// An agent's credentials as a `fetch` (RFC 7523, RFC 9449), for everything that lets its user replace `fetch`.
//
//     const agent = remitAgent({ issuer: 'https://remit.example', agent: 'planner', key: readFileSync('planner.pem') });
//     new StreamableHTTPClientTransport(url, { fetch: agent.fetch });
//
// It gets a token for the resource that a request goes to, signs a fresh DPoP proof for every request, answers a nonce
// challenge, renews a token once however many requests wait for it, and opens an MCP session again when the server no longer
// knows it. It does not sign people in and keeps nothing on disk. It never throws on a refusal: without a token the request
// goes out bare, and the server's 401 explains why.
import { createHash, createPrivateKey, createPublicKey, randomUUID, sign } from 'node:crypto';

const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';
// Seconds before its end at which a token is renewed.
const RENEW_BEFORE = 5;
// A request may be repeated for a nonce, for a new token, for a new session, and for a nonce once more.
const MOST_ATTEMPTS = 5;

/** The credentials of one registered agent; `key` is its private key in PEM, P-256 or Ed25519. */
export function remitAgent({ issuer, agent, key, scope }) {
  const endpoint = `${issuer.replace(/\/$/, '')}/oauth/token`;
  const clientId = agent.startsWith('agent:') ? agent : `agent:${agent}`;
  const signer = jwtSigner(key);
  const [nonces, held, renewing, sessions] = [new Map(), new Map(), new Map(), new Map()];

  function proof(method, url, token) {
    const ath = token && createHash('sha256').update(token).digest('base64url');
    const claims = { htm: method, htu: url, ...(ath && { ath }), ...(nonces.has(url) && { nonce: nonces.get(url) }) };
    return signer.sign({ typ: 'dpop+jwt', jwk: signer.publicJwk }, claims);
  }

  function rememberNonce(url, response) {
    const nonce = response.headers.get('dpop-nonce');
    if (nonce) nonces.set(url, nonce);
    return nonce;
  }

  /** Asks for a token; what is held stays when the server refuses or is not there. */
  async function renew(resource) {
    for (let attempt = 0; attempt < 2; attempt += 1) {
      const assertion = signer.sign({ typ: 'JWT' }, { iss: clientId, sub: clientId, aud: issuer, exp: now() + 60 });
      const form = new URLSearchParams({
        grant_type: 'client_credentials', resource, client_id: clientId,
        client_assertion_type: ASSERTION_TYPE, client_assertion: assertion, ...(scope && { scope }),
      });
      const headers = { dpop: proof('POST', endpoint) };
      const response = await fetch(endpoint, { method: 'POST', body: form, headers, redirect: 'error' }).catch(() => undefined);
      const body = await response?.json().catch(() => undefined);
      if (response?.ok) return held.set(resource, { token: body.access_token, ends: now() + (body.expires_in ?? 0) });
      if (!response || !rememberNonce(endpoint, response) || body?.error !== 'use_dpop_nonce') return undefined;
    }
  }

  /** The token for a resource, renewed when it has ended or the server has refused it (`ended`). */
  async function tokenFor(resource, ended) {
    const current = held.get(resource);
    if (!current || current.token === ended || current.ends - RENEW_BEFORE <= now()) {
      if (!renewing.has(resource)) renewing.set(resource, renew(resource).finally(() => renewing.delete(resource)));
      await renewing.get(resource);
    }
    return held.get(resource)?.token;
  }

  async function agentFetch(input, init) {
    const request = new Request(input, init);
    const [url, body] = [withoutQuery(request.url), request.body ? await request.arrayBuffer() : undefined];
    const session = sessions.get(request.headers.get('mcp-session-id'));
    let [response, ended] = [];
    for (let attempt = 0; attempt < MOST_ATTEMPTS; attempt += 1) {
      const token = await tokenFor(url, ended);
      const headers = new Headers(request.headers);
      if (token) headers.set('authorization', `DPoP ${token}`);
      if (token) headers.set('dpop', proof(request.method, url, token));
      if (session) headers.set('mcp-session-id', session.id);
      const sent = session?.id;
      response = await fetch(request.url, { method: request.method, headers, body, signal: request.signal, redirect: 'error' });
      const nonce = rememberNonce(url, response);
      if (nonce && wantsNonce(response)) continue;
      if (response.status === 401 && token && token !== ended) {
        ended = token;
      } else if (response.status !== 404 || !session || !(await session.reopen(sent, request.headers))) {
        break;
      }
    }
    const opened = response.headers.get('mcp-session-id');
    if (opened && !sessions.has(opened) && isInitialize(body)) sessions.set(opened, mcpSession(opened, request, body));
    return response;
  }

  /** A session (2025-11-25 and older) that is opened again when the server restarts or forgets it. */
  function mcpSession(id, opening, body) {
    const headers = Object.fromEntries(['accept', 'content-type'].map((name) => [name, opening.headers.get(name)]));
    const session = { id };
    let reopening;
    async function replay(version) {
      const answer = await agentFetch(opening.url, { method: 'POST', headers, body });
      const fresh = answer.headers.get('mcp-session-id');
      await answer.text();
      if (!answer.ok || !fresh) return false;
      // The client knows the old id and keeps using it.
      sessions.delete(fresh);
      const greeting = JSON.stringify({ jsonrpc: '2.0', method: 'notifications/initialized' });
      const inSession = { ...headers, 'mcp-session-id': fresh, ...(version && { 'mcp-protocol-version': version }) };
      await agentFetch(opening.url, { method: 'POST', headers: inSession, body: greeting });
      session.id = fresh;
      return true;
    }
    /** Replays `initialize` after the server refused the id that was `sent`; whether there is a new session. */
    session.reopen = async (sent, asked) => {
      if (session.id !== sent) return true;
      reopening ??= replay(asked.get('mcp-protocol-version')).finally(() => (reopening = undefined));
      return reopening;
    };
    return session;
  }

  return { clientId, fetch: agentFetch };
}

/** Signs compact JWTs with a PEM key. */
function jwtSigner(pem) {
  const key = createPrivateKey(pem);
  const { kty, crv, x, y } = createPublicKey(key).export({ format: 'jwk' });
  const [alg, hash] = kty === 'OKP' ? ['EdDSA', undefined] : ['ES256', 'sha256'];
  return {
    publicJwk: { kty, crv, x, ...(y && { y }) },
    sign(header, claims) {
      const parts = [{ alg, ...header }, { jti: randomUUID(), iat: now(), ...claims }];
      const input = parts.map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');
      return `${input}.${sign(hash, Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`;
    },
  };
}

/** Whether a resource refused a proof because it has not the nonce that the answer carries. */
function wantsNonce(response) {
  return response.status === 401 && (response.headers.get('www-authenticate') ?? '').includes('use_dpop_nonce');
}

function isInitialize(body) {
  try {
    return JSON.parse(Buffer.from(body).toString()).method === 'initialize';
  } catch {
    return false;
  }
}

/** What a proof names and a token is for: the URL without query and fragment. */
function withoutQuery(url) {
  const { origin, pathname } = new URL(url);
  return origin + pathname;
}

const now = () => Math.floor(Date.now() / 1000);
