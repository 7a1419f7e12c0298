// The sign-in and consent pages that Ory Hydra leaves to others: whoever gives a name is that person, and consents to everything.
//
// Script: {port, admin, groups: {NAME: [...]}}; says `ready` when it listens, and runs until it is ended.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';

const { port, admin, groups } = JSON.parse(readFileSync(process.argv[2], 'utf8'));

async function hydra(method, path, query, body) {
  const url = `${admin}/admin/oauth2/auth/requests/${path}?${new URLSearchParams(query)}`;
  const answer = await fetch(url, { method, headers: { 'content-type': 'application/json' }, body: body && JSON.stringify(body) });
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

async function handle(request, response) {
  const url = new URL(request.url, `http://127.0.0.1:${port}`);
  const goOn = (to) => response.writeHead(303, { location: to }).end();
  if (url.pathname === '/login' && request.method === 'GET') {
    const page = '<!doctype html><form method="post"><input name="login"><input name="password" type="password"><button>Enter</button></form>';
    return response.writeHead(200, { 'content-type': 'text/html' }).end(page);
  }
  if (url.pathname === '/login') {
    let form = '';
    for await (const piece of request) form += piece;
    const subject = new URLSearchParams(form).get('login');
    const login_challenge = url.searchParams.get('login_challenge');
    const accepted = await hydra('PUT', 'login/accept', { login_challenge }, { subject, acr: 'pwd', amr: ['pwd'] });
    return goOn(accepted.redirect_to);
  }
  const consent_challenge = url.searchParams.get('consent_challenge');
  const asked = await hydra('GET', 'consent', { consent_challenge });
  const id_token = { name: asked.subject, groups: groups[asked.subject] ?? [] };
  const accepted = await hydra('PUT', 'consent/accept', { consent_challenge }, { grant_scope: asked.requested_scope, session: { id_token } });
  return goOn(accepted.redirect_to);
}

createServer((request, response) => {
  handle(request, response).catch((error) => response.writeHead(500).end(String(error)));
}).listen(port, '127.0.0.1', () => console.log('ready'));
