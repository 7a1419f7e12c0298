// Unmodified MCP SDKs for TypeScript at the front door, 2 and 1.x: code with an id that is given, registered or the address of a
// document; client credentials; DPoP. What each gets, or the words it gets.
//
// Script: as doors/mod.rs makes it; prints a list of {client, mode, kind, result | words}.
import { createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import * as two from '@modelcontextprotocol/client';
import { StdioClientTransport as TwoStdio } from '@modelcontextprotocol/client/stdio';
import * as oneProviders from '@modelcontextprotocol/sdk/client/auth-extensions.js';
import { Client as One } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport as OneStdio } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport as OneHttp } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { installed, report, script } from './door.mjs';
import { answered, decide } from './person-http.mjs';

const v2 = { Client: two.Client, Http: two.StreamableHTTPClientTransport, Stdio: TwoStdio, providers: two };
const v1 = { Client: One, Http: OneHttp, Stdio: OneStdio, providers: oneProviders };
const GIVEN = { client_id: script.editor, issuer: script.issuer };
const SIGNING = { ...GIVEN, client_id: script.signing_editor };

/** What both SDKs ask an application for. */
function provider({ client, document, dpop }) {
  let tokens, verifier, answer;
  return {
    get redirectUrl() { return script.redirect; },
    get clientMetadata() { return { redirect_uris: [script.redirect], token_endpoint_auth_method: 'none', client_name: 'doors' }; },
    ...(document && { clientMetadataUrl: document }),
    ...(dpop && { dpop: () => dpop }),
    clientInformation: () => client,
    saveClientInformation: (given) => { client = given; },
    tokens: () => tokens,
    saveTokens: (given) => { tokens = given; },
    saveCodeVerifier: (given) => { verifier = given; },
    codeVerifier: () => verifier,
    redirectToAuthorization: async (url) => { answer = answered(await decide(url, script)); },
    answer: () => answer,
  };
}

async function code({ Client, Http }, how) {
  const auth = provider(how);
  const connect = async () => {
    const transport = new Http(new URL(script.resource), { authProvider: auth });
    const client = new Client({ name: 'doors', version: '1' });
    try {
      await client.connect(transport);
      return client;
    } catch (error) {
      const answer = auth.answer();
      if (!answer || auth.tokens()) throw error;
      await transport.finishAuth(Http === OneHttp ? answer.get('code') : answer);
      return connect();
    }
  };
  return used(await connect());
}

/** Machine to machine; `more` is what an application adds to the SDK's provider. */
async function machine({ Client, Http }, auth, more = {}) {
  const client = new Client({ name: 'doors', version: '1' });
  await client.connect(new Http(new URL(script.resource), { authProvider: Object.assign(auth, more) }));
  return used(client);
}

/** As a PEM text the SDKs take RSA and NIST curves only; as a JWK they take Ed25519 too. */
const signedJwt = ({ providers }, { id, key_file: file } = script.machine) => new providers.PrivateKeyJwtProvider({
  clientId: id, privateKey: createPrivateKey(readFileSync(file)).export({ format: 'jwk' }), algorithm: 'EdDSA',
  expectedIssuer: script.issuer,
});
const secret = ({ providers }) => new providers.ClientCredentialsProvider({
  clientId: script.machine.id, clientSecret: 'a secret', expectedIssuer: script.issuer,
});

async function bridge({ Client, Stdio }) {
  const client = new Client({ name: 'doors', version: '1' });
  await client.connect(new Stdio({ ...script.connect, stderr: 'ignore' }));
  return used(client);
}

async function used(client) {
  await client.listTools();
  const result = await client.callTool({ name: script.tool, arguments: {} });
  if (result.isError) throw new Error(result.content[0].text);
  await client.close();
  return 'works';
}

const [name2, name1] = ['client', 'sdk'].map((name) => `MCP TypeScript SDK ${installed(`@modelcontextprotocol/${name}`)}`);
const both = [[name2, v2], [name1, v1]].flatMap(([name, sdk]) => [
  [name, 'code, given id', 'bearer', () => code(sdk, { client: GIVEN })],
  [name, 'code, registers itself', 'bearer', () => code(sdk, {})],
  [name, 'code, metadata document', 'bearer', () => code(sdk, { document: script.document })],
  [name, '`PrivateKeyJwtProvider`', 'bearer', () => machine(sdk, signedJwt(sdk))],
  [name, '`ClientCredentialsProvider`', 'secret', () => machine(sdk, secret(sdk))],
  [name, 'stdio, `remit connect`', 'bound', () => bridge(sdk)],
]);
const dpop = [
  [name2, 'code, given id, `DpopSession`', 'dpop', async () => code(v2, { client: SIGNING, dpop: await two.DpopSession.create() })],
  [name2, 'code, registers itself, `DpopSession`', 'dpop', async () => code(v2, { dpop: await two.DpopSession.create() })],
  [name2, 'code, metadata document, `DpopSession`', 'dpop', async () => code(v2, { document: script.document, dpop: await two.DpopSession.create() })],
  [name2, '`PrivateKeyJwtProvider` with `dpop()`', 'dpop', async () => {
    const session = await two.DpopSession.create();
    return machine(v2, signedJwt(v2, script.signing_machine), { dpop: () => session });
  }],
];
await report([...both.slice(0, 6), ...dpop, ...both.slice(6)]);
