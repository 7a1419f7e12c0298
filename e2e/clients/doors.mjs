// Unmodified TypeScript clients at the front door: the MCP SDK 2 and 1.x, with the code flow of a public client whose id is given.
// What each gets, or the words it gets.
//
// Script: as in doors.py; prints a list of {client, mode, result | words}.
import { readFileSync } from 'node:fs';
import * as two from '@modelcontextprotocol/client';
import { Client as One } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as OneHttp } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

const script = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const installed = (name) => JSON.parse(readFileSync(new URL(`node_modules/${name}/package.json`, import.meta.url), 'utf8')).version;

/** A person opens the page, signs in and allows; what the program's redirect URI was given. */
async function person(url) {
  const cookies = new Map();
  const go = async (path, form) => {
    const response = await fetch(new URL(path, script.issuer), {
      redirect: 'manual',
      headers: { cookie: [...cookies].map((pair) => pair.join('=')).join('; ') },
      ...(form && { method: 'POST', body: new URLSearchParams(form) }),
    });
    for (const cookie of response.headers.getSetCookie()) cookies.set(...cookie.split(';')[0].split(/=(.*)/s).slice(0, 2));
    return response;
  };
  const hidden = async (page) => /name="request" value="([^"]*)"/.exec(await page.text())[1].replaceAll('&quot;', '"').replaceAll('&amp;', '&');
  let page = await go(url);
  if (page.status === 200) page = await go('/oauth/login', { username: script.user, password: script.password, request: await hidden(page) });
  if (page.status === 200) page = await go('/oauth/consent', { decision: 'allow', request: await hidden(page) });
  return new URL(page.headers.get('location')).searchParams;
}

/** What both SDKs ask an application for. */
function provider() {
  let tokens, verifier, answer;
  return {
    get redirectUrl() { return script.redirect; },
    get clientMetadata() { return { redirect_uris: [script.redirect], token_endpoint_auth_method: 'none', client_name: 'doors' }; },
    clientInformation: () => ({ client_id: script.public, issuer: script.issuer }),
    saveClientInformation: () => {},
    tokens: () => tokens,
    saveTokens: (given) => { tokens = given; },
    saveCodeVerifier: (given) => { verifier = given; },
    codeVerifier: () => verifier,
    redirectToAuthorization: async (url) => { answer = await person(url); },
    answer: () => answer,
  };
}

async function code(Client, Http) {
  const auth = provider();
  const connect = async () => {
    const transport = new Http(new URL(script.resource), { authProvider: auth });
    const client = new Client({ name: 'doors', version: '1' });
    try {
      await client.connect(transport);
      return client;
    } catch (error) {
      if (!auth.answer() || auth.tokens()) throw error;
      const answer = auth.answer();
      if (answer.has('error')) throw new Error(`${answer.get('error')}: ${answer.get('error_description')}`);
      await transport.finishAuth(Http === OneHttp ? answer.get('code') : answer);
      return connect();
    }
  };
  const client = await connect();
  return called(client);
}

async function called(client) {
  await client.listTools();
  const result = await client.callTool({ name: script.tool, arguments: {} });
  if (result.isError) throw new Error(result.content[0].text);
  await client.close();
  return 'works';
}

const [v2, v1] = ['client', 'sdk'].map((name) => installed(`@modelcontextprotocol/${name}`));
const doors = [
  [`MCP TypeScript SDK ${v2}`, 'code, given id', () => code(two.Client, two.StreamableHTTPClientTransport)],
  [`MCP TypeScript SDK ${v1}`, 'code, given id', () => code(One, OneHttp)],
];
const report = [];
for (const [client, mode, door] of doors) {
  try {
    report.push({ client, mode, result: await door() });
  } catch (error) {
    report.push({ client, mode, words: `${error.name}: ${error.message}` });
  }
}
console.log(JSON.stringify(report));
