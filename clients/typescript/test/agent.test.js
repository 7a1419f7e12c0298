import assert from 'node:assert/strict';
import { generateKeyPairSync, verify } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';
import { after, before, beforeEach, mock, test } from 'node:test';
import { KeyUnusable, mastraFetch, Refused, RemitError, remitAgent, SignInFailed, Unreachable } from '@remit/agent';

// An authorization server and a resource in one, which does what a test says.
const server = createServer(async (request, response) => {
  const body = await text(request);
  if (request.url.startsWith('/.well-known/')) {
    const [status, answer] = metadata(request.url);
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
  } else if (request.url === '/oauth/token') {
    const form = Object.fromEntries(new URLSearchParams(body));
    tokenRequests.push(form);
    const [status, answer, headers = {}] = token(form);
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(answer));
  } else {
    requests.push(request.headers);
    const [status, headers = {}, answer = ''] = resource(request.headers, body);
    response.writeHead(status, headers).end(answer);
  }
});
const QUARANTINED = { error: 'unauthorized_client', error_description: 'quarantined', remit_code: 'agent_quarantined', remit_record: 'r1' };
const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const key = privateKey.export({ type: 'pkcs8', format: 'pem' });
let [issuer, url, tokenRequests, requests, token, resource, metadata] = [];

before(async () => {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  issuer = `http://127.0.0.1:${server.address().port}`;
  url = `${issuer}/mcp/desk`;
});
beforeEach(() => {
  [tokenRequests, requests] = [[], []];
  token = () => [200, { access_token: `token-${tokenRequests.length}`, expires_in: 300 }];
  resource = () => [200, {}, 'fine'];
  metadata = () => [200, described()];
});
after(() => server.close());

const described = () => ({
  issuer, token_endpoint: `${issuer}/oauth/token`, authorization_endpoint: `${issuer}/oauth/authorize`,
  authorization_response_iss_parameter_supported: true,
});
const planner = (more = {}) => remitAgent({ issuer, agent: 'planner', key, ...more });
const post = (agent, body = 'x', headers = {}) => agent.fetch(url, { method: 'POST', body, headers });
const claims = (jwt) => JSON.parse(Buffer.from(jwt.split('.')[1], 'base64url'));

test('parallel requests share one token, and each has a proof of its own', async () => {
  const agent = planner();
  const answers = await Promise.all(Array.from({ length: 50 }, () => post(agent)));
  assert.ok(answers.every(({ status }) => status === 200));
  assert.equal(tokenRequests.length, 1);
  assert.deepEqual(new Set(requests.map(({ authorization }) => authorization)), new Set(['DPoP token-1']));
  const proofs = requests.map(({ dpop }) => dpop);
  assert.equal(new Set(proofs.map((proof) => claims(proof).jti)).size, 50);
  const [input, signature] = [proofs[0].slice(0, proofs[0].lastIndexOf('.')), proofs[0].split('.')[2]];
  assert.ok(verify('sha256', Buffer.from(input), { key: publicKey, dsaEncoding: 'ieee-p1363' }, Buffer.from(signature, 'base64url')));
});

test('a token is renewed before it ends', async () => {
  const agent = planner();
  await post(agent);
  mock.timers.enable({ apis: ['Date'], now: Date.now() + 291_000 });
  try {
    await post(agent);
  } finally {
    mock.timers.reset();
  }
  assert.deepEqual(requests.map(({ authorization }) => authorization), ['DPoP token-1', 'DPoP token-2']);
});

test('a refused renewal sends the old token, is not repeated at once, and never rejects', async () => {
  const agent = planner();
  await post(agent);
  token = () => [400, QUARANTINED];
  resource = () => [401, {}, 'agent_quarantined'];
  for (let times = 0; times < 5; times += 1) assert.equal(await (await post(agent)).text(), 'agent_quarantined');
  assert.equal(tokenRequests.length, 2);
  assert.ok(agent.refusal instanceof Refused);
  assert.match(agent.refusal.message, /quarantined \[agent_quarantined, record r1\]/);
  await assert.rejects(planner().token(url), { name: 'Refused', code: 'agent_quarantined', record: 'r1', status: 400 });
});

test('without a token the request goes out bare', async () => {
  token = () => [400, QUARANTINED];
  assert.equal((await post(planner())).status, 200);
  assert.equal(requests[0].authorization, undefined);
  assert.equal(requests[0].dpop, undefined);
  const gone = remitAgent({ issuer: 'http://127.0.0.1:1', agent: 'planner', key });
  assert.equal((await post(gone)).status, 200);
  assert.ok(gone.refusal instanceof Unreachable);
});

test('a 401 is answered with one new token', async () => {
  const agent = planner();
  resource = ({ authorization }) => [authorization === 'DPoP token-2' ? 200 : 401];
  assert.equal((await post(agent)).status, 200);
  resource = () => [401, {}, 'never'];
  assert.equal(await (await post(agent)).text(), 'never');
  assert.equal(tokenRequests.length, 3);
});

test('nonces are kept for each URL, and are no reason for a new token', async () => {
  const seen = [];
  resource = (headers, body) => {
    seen.push([body, claims(headers.dpop).nonce]);
    return seen.length === 1 ? [401, { 'www-authenticate': 'DPoP error="use_dpop_nonce"', 'dpop-nonce': 'n1' }] : [200];
  };
  token = () => [200, { access_token: 't', expires_in: 300 }, { 'dpop-nonce': 'of the token endpoint' }];
  assert.equal((await post(planner(), 'again')).status, 200);
  assert.deepEqual(seen, [['again', undefined], ['again', 'n1']]);
  assert.equal(tokenRequests.length, 1);
});

test('an endless wish for nonces ends', async () => {
  token = () => [400, { error: 'use_dpop_nonce' }];
  await assert.rejects(planner().token(url), /use_dpop_nonce/);
  assert.equal(tokenRequests.length, 3);
});

test('a redirect is an error, because it would carry the proof elsewhere', async () => {
  resource = () => [307, { location: `${issuer}/other` }];
  await assert.rejects(post(planner()), TypeError);
  assert.equal(requests.length, 1);
  token = () => [302, {}, { location: `${issuer}/other` }];
  await assert.rejects(planner().token(url), /check the issuer/);
});

test('a session is opened again once', async () => {
  const [opened, alive] = [[], new Set()];
  resource = (headers, body) => {
    if (body.includes('"initialize"')) {
      opened.push(`s${opened.length + 1}`);
      alive.add(opened.at(-1));
      return [200, { 'mcp-session-id': opened.at(-1) }];
    }
    return [alive.has(headers['mcp-session-id']) ? 200 : 404, {}, headers['mcp-session-id']];
  };
  const agent = planner();
  await post(agent, '{"method":"initialize"}');
  alive.clear();
  const answers = await Promise.all(Array.from({ length: 20 }, () => post(agent, '{}', { 'mcp-session-id': 's1' })));
  assert.deepEqual(new Set(await Promise.all(answers.map((answer) => answer.text()))), new Set(['s2']));
  assert.deepEqual(opened, ['s1', 's2']);
  assert.equal((await post(agent, '{}', { 'mcp-session-id': 'unknown' })).status, 404);
});

test('an exchange shows both agents', async () => {
  const summarizer = remitAgent({ issuer, agent: 'agent:summarizer', key });
  await planner().child(summarizer, { scope: 'desk:read', requested_lifetime: 60, purpose: 'report' }).token(url);
  const [own, shown, exchange] = tokenRequests;
  assert.deepEqual([own.client_id, shown.client_id, exchange.client_id], ['agent:planner', 'agent:summarizer', 'agent:planner']);
  assert.equal(shown.resource, issuer);
  assert.deepEqual([exchange.subject_token, exchange.actor_token], ['token-1', 'token-2']);
  assert.deepEqual([exchange.scope, exchange.requested_lifetime, exchange.purpose], ['desk:read', '60', 'report']);
  assert.throws(() => planner().child('summarizer'), RemitError);
});

test('an unusable key is refused', () => {
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ type: 'pkcs8', format: 'pem' });
  const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey.export({ type: 'pkcs8', format: 'pem' });
  for (const wrong of [rsa, p384, 'planner.pem', Buffer.from('x')]) {
    assert.throws(() => planner({ key: wrong }), KeyUnusable);
  }
});

test('each call is of the agent that is picked', async () => {
  const fetch = mastraFetch((context) => context?.agent);
  assert.equal((await fetch(url, { method: 'POST' }, { agent: planner() })).status, 200);
  assert.throws(() => fetch(url, {}, {}), RemitError);
});

/** A person whose browser comes back with `answer`. */
const browser = (answer, asked = {}) => async (opened) => {
  Object.assign(asked, Object.fromEntries(new URL(opened).searchParams));
  const back = (more) => fetch(`${asked.redirect_uri}?${new URLSearchParams(more)}`);
  assert.equal((await back({ state: 'forged', code: 'x' })).status, 404);
  assert.equal((await back({ state: asked.state, ...answer })).status, 200);
};

test('a person signs in once, and each refresh token is used once', async () => {
  const asked = {};
  token = () => [200, { access_token: `a${tokenRequests.length}`, refresh_token: `r${tokenRequests.length}`, expires_in: 300 }];
  const agent = planner({ signIn: { resource: url, openUrl: browser({ iss: issuer, code: 'c' }, asked), purpose: 'report' } });
  await Promise.all([agent.token(url), agent.token(url)]);
  assert.deepEqual([asked.scope, asked.purpose, asked.code_challenge_method], ['desk:*', 'report', 'S256']);
  assert.deepEqual([tokenRequests.length, tokenRequests[0].resource], [1, url]);
  for (const number of [1, 2]) {
    assert.equal(await agent.token(url, { ended: `a${number}` }), `a${number + 1}`);
    assert.equal(tokenRequests.at(-1).refresh_token, `r${number}`);
  }
  await assert.rejects(agent.token(`${issuer}/mcp/other`), /sign-in of its own/);
});

test('an answer that cannot be used is refused, and the person is not asked again', async () => {
  const answers = [
    [{ code: 'c' }, /not from/],
    [{ iss: 'https://mix-up.example', code: 'c' }, /mix-up\.example/],
    [{ iss: issuer, error: 'access_denied', error_description: 'refused by alice' }, /refused by alice \[access_denied\]/],
    [{ iss: issuer }, /neither a code nor an error/],
  ];
  for (const [answer, words] of answers) {
    let times = 0;
    const openUrl = (opened) => ((times += 1), browser(answer)(opened));
    const agent = planner({ signIn: { resource: url, openUrl } });
    await assert.rejects(agent.token(url), words);
    await assert.rejects(agent.token(url), SignInFailed);
    assert.equal((await post(agent)).status, 200, 'the request goes out bare');
    assert.equal(times, 1);
  }
  assert.equal(tokenRequests.length, 0);
  const openUrl = () => Promise.reject(new Error('no display'));
  await assert.rejects(planner({ signIn: { resource: url, openUrl } }).signIn(), /no browser can be opened: no display/);
});

test('endpoints are where the metadata says, which is asked once', async () => {
  const asked = [];
  metadata = (place) => {
    asked.push(place);
    return place.includes('openid') ? [200, described()] : [404, {}];
  };
  const agent = planner();
  assert.equal((await post(agent)).status, 200);
  await agent.token(`${url}/other`);
  assert.deepEqual(asked, ['/.well-known/oauth-authorization-server', '/.well-known/openid-configuration']);
});

test('metadata of another issuer is refused, and no assertion leaves', async () => {
  metadata = () => [200, { ...described(), issuer: 'https://elsewhere.example' }];
  await assert.rejects(planner().token(url), (error) => error instanceof RemitError && /describes https:\/\/elsewhere/.test(error.message));
  assert.equal(tokenRequests.length, 0);
});

test('a server without metadata is no issuer', async () => {
  metadata = () => [404, {}];
  await assert.rejects(planner().token(url), Unreachable);
});

test('a token that is bound to no key is sent without a proof', async () => {
  token = () => [200, { access_token: 'loose', token_type: 'Bearer', expires_in: 300 }];
  await post(planner());
  assert.deepEqual([requests[0].authorization, requests[0].dpop], ['Bearer loose', undefined]);
});
