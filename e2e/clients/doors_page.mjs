// An application in a browser, of an origin of its own: the MCP SDK in headless Chromium reaches the server without a proxy, so every
// answer it needs must say that pages of other origins may read it (CORS).
//
// Script: as doors/mod.rs makes it, with `page`, the port of the application's origin; prints a list of
// {client, mode, kind, result | words}.
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { installed, report, script } from './door.mjs';
import { browser, signIn } from './person.mjs';

const ORIGIN = `http://localhost:${script.page}`;
const SDK = '/node_modules/@modelcontextprotocol';
const imports = {
  '@modelcontextprotocol/client': `${SDK}/client/dist/index.mjs`,
  '@modelcontextprotocol/client/_shims': `${SDK}/client/dist/shimsBrowser.mjs`,
  '@modelcontextprotocol/core/internal': `${SDK}/core/dist/internal.mjs`,
  eventsource: '/node_modules/eventsource/dist/index.js',
  'eventsource-parser': '/node_modules/eventsource-parser/dist/index.js',
  'eventsource-parser/stream': '/node_modules/eventsource-parser/dist/stream.js',
  jose: '/node_modules/jose/dist/webapi/index.js',
  'pkce-challenge': '/node_modules/pkce-challenge/dist/index.browser.js',
  'zod/v4': '/node_modules/zod/v4/index.js',
};

/** The application: signs in in a window of its own, which tells it where it was sent. */
async function application(script, { client, dpop: withProof, redirect }) {
  const { Client, DpopSession, StreamableHTTPClientTransport } = await import('@modelcontextprotocol/client');
  const dpop = withProof && (await DpopSession.create());
  let [tokens, verifier, answer] = [];
  const back = new BroadcastChannel('callback');
  const provider = {
    redirectUrl: redirect,
    clientMetadata: { redirect_uris: [redirect], token_endpoint_auth_method: 'none', client_name: 'page' },
    ...(dpop && { dpop: () => dpop }),
    clientInformation: () => client,
    saveClientInformation: (given) => { client = given; },
    tokens: () => tokens,
    saveTokens: (given) => { tokens = given; },
    saveCodeVerifier: (given) => { verifier = given; },
    codeVerifier: () => verifier,
    redirectToAuthorization: async (url) => {
      const sent = new Promise((resolve) => { back.onmessage = ({ data }) => resolve(new URLSearchParams(data)); });
      window.open(url);
      answer = await sent;
    },
  };
  const connect = async () => {
    const transport = new StreamableHTTPClientTransport(new URL(script.resource), { authProvider: provider });
    const mcp = new Client({ name: 'page', version: '1' });
    try {
      await mcp.connect(transport);
      return mcp;
    } catch (error) {
      if (!answer || tokens) throw error;
      await transport.finishAuth(answer);
      return connect();
    }
  };
  try {
    const mcp = await connect();
    await mcp.listTools();
    const result = await mcp.callTool({ name: script.tool, arguments: {} });
    await mcp.close();
    return result.isError ? { words: result.content[0].text } : { result: 'works' };
  } catch (error) {
    return { words: `${error.name}: ${error.message}` };
  }
}

const TYPES = { js: 'text/javascript', mjs: 'text/javascript' };
const PAGES = {
  '/': `<!doctype html><script type="importmap">${JSON.stringify({ imports })}</script>`,
  '/callback': '<!doctype html><script>new BroadcastChannel("callback").postMessage(location.search); window.close();</script>',
};

async function serve(request, response) {
  const { pathname } = new URL(request.url, ORIGIN);
  try {
    const own = PAGES[pathname] ?? (await readFile(new URL(`.${pathname}`, import.meta.url)));
    response.writeHead(200, { 'content-type': PAGES[pathname] ? 'text/html' : (TYPES[pathname.split('.').pop()] ?? 'text/plain') }).end(own);
  } catch {
    response.writeHead(404).end();
  }
}

const origin = createServer(serve).listen(script.page, 'localhost');
await once(origin, 'listening');
const chrome = await browser();

async function person(popup) {
  await popup.waitForLoadState();
  if ((await popup.getByLabel('Password').count()) === 0) throw new Error(`the page says: ${await popup.locator('main').innerText()}`);
  await signIn(popup, script.user, script.password);
  await popup.getByRole('button', { name: 'Allow' }).click();
}

async function door(how) {
  const context = await chrome.newContext();
  try {
    const page = await context.newPage();
    page.on('console', (message) => process.env.DOORS_DEBUG && console.error(message.text()));
    const lost = new Promise((_, reject) => page.on('popup', (popup) => person(popup).catch(reject)));
    await page.goto(ORIGIN);
    const given = [{ resource: script.resource, tool: script.tool }, { ...how, redirect: `${ORIGIN}/callback` }];
    const { result, words } = await Promise.race([page.evaluate(`(${application})(...${JSON.stringify(given)})`), lost]);
    if (!result) throw Object.assign(new Error(words.replace(/^\w+: /, '')), { name: /^\w+/.exec(words)[0] });
    return result;
  } finally {
    await context.close();
  }
}

const name = `MCP TypeScript SDK ${installed('@modelcontextprotocol/client')} in Chromium`;
await report([
  [name, 'code, given id', 'bearer', () => door({ client: { client_id: script.editor, issuer: script.issuer } })],
  [name, 'code, registers itself', 'bearer', () => door({})],
  [name, 'code, given id, `DpopSession`', 'dpop', () => door({ client: { client_id: script.signing_editor, issuer: script.issuer }, dpop: true })],
]);
await chrome.close();
origin.close();
