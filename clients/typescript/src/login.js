// A person signs in at the browser: authorization code with PKCE and a loopback redirect (RFC 7636, RFC 8252, RFC 9207).
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { SignInFailed } from './errors.js';
import { digest, parameters } from './token-client.js';

/** How long the person may take, in milliseconds; a request waits no longer at the server either. */
const PATIENCE = 600_000;
const PAGE = '<!doctype html><title>Remit</title><p>You can close this window.';

/** Asks the person; returns the token endpoint's first answer. */
export async function askPerson(client, { resource, openUrl, ...asked }) {
  const [verifier, state] = [randomBytes(48).toString('base64url'), randomBytes(24).toString('base64url')];
  const waiting = await listen(state);
  try {
    const wanted = parameters(asked);
    if (!wanted.scope && !wanted.authorization_details) wanted.scope = `${resource.split('/').pop()}:*`;
    const server = await client.metadata();
    const page = new URL(server.authorization_endpoint);
    const query = Object.entries({
      response_type: 'code', client_id: client.clientId, redirect_uri: waiting.redirect, resource, ...wanted, state,
      dpop_jkt: client.signer.thumbprint, code_challenge: digest(verifier), code_challenge_method: 'S256',
    });
    for (const [name, value] of query) page.searchParams.set(name, value);
    const opened = openUrl(page.href);
    const answer = await Promise.race([waiting.answer, failing(opened)]);
    const code = codeIn(answer, server);
    const form = { grant_type: 'authorization_code', code, code_verifier: verifier, redirect_uri: waiting.redirect, resource };
    return await client.request(form);
  } finally {
    waiting.close();
  }
}

function codeIn(answer, { issuer, authorization_response_iss_parameter_supported: named }) {
  // SPEC: RFC 9207 section 2.4
  if (answer.iss !== issuer && (named || answer.iss !== undefined)) throw new SignInFailed(`the answer comes from ${answer.iss}, not from ${issuer}; do not trust that page`);
  if (answer.error) throw new SignInFailed(`${answer.error_description ?? 'no authority was given'} [${answer.error}]`);
  if (!answer.code) throw new SignInFailed("the browser's answer has neither a code nor an error; sign in again");
  return answer.code;
}

/** Rejects when the browser cannot be opened, and never resolves. */
async function failing(opened) {
  try {
    await opened;
  } catch (error) {
    throw new SignInFailed(`no browser can be opened: ${error.message}; \`openUrl: console.log\` shows the address`, { cause: error });
  }
  return new Promise(() => {});
}

/** Takes the one request that carries our state; everything else on the port is not for us. */
async function listen(state) {
  let [arrive, expire] = [];
  const answer = new Promise((resolve, reject) => {
    arrive = resolve;
    expire = setTimeout(() => reject(new SignInFailed(`no person signed in within ${PATIENCE / 1000} seconds; sign in again`)), PATIENCE);
  });
  const server = createServer((request, response) => {
    const place = new URL(request.url, 'http://127.0.0.1');
    const ours = place.pathname === '/callback' && place.searchParams.get('state') === state;
    response.writeHead(ours ? 200 : 404, { 'content-type': 'text/html', connection: 'close' }).end(ours ? PAGE : '');
    if (ours) arrive(Object.fromEntries(place.searchParams));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const close = () => {
    clearTimeout(expire);
    server.close();
  };
  return { redirect: `http://127.0.0.1:${server.address().port}/callback`, answer, close };
}
