// One request with an agent's credentials: a token and a fresh proof, and what to do when the server refuses it.
//
// A request is repeated when the server wants its nonce in the proof, with a new token after a 401, and in a new MCP session
// after a 404 (2025-11-25 and older) when the server has restarted or forgotten the session. It never fails for a refusal:
// without a token the request goes out bare, and the server's 401 explains why.

/** A request may be repeated for a nonce, for a new token, for a new session, and for a nonce once more. */
const MOST_ATTEMPTS = 5;
/** Sessions that are remembered for each agent; the oldest goes first. */
const MOST_SESSIONS = 1000;

/** A `fetch`; `heldFor(resource, ended)` gives the agent's `{token, bearer}`, another one than the one that the server refused. */
export function agentFetch(client, heldFor) {
  const sessions = new Map();

  async function send(input, init) {
    const request = new Request(input, init);
    const [url, body] = [withoutQuery(request.url), request.body ? await request.arrayBuffer() : undefined];
    const session = sessions.get(request.headers.get('mcp-session-id'));
    let [response, renewed, held] = [undefined, false, await heldFor(url)];
    for (let attempt = 0; attempt < MOST_ATTEMPTS; attempt += 1) {
      const headers = new Headers(request.headers);
      if (held) headers.set('authorization', `${held.bearer ? 'Bearer' : 'DPoP'} ${held.token}`);
      if (held && !held.bearer) headers.set('dpop', client.proof(request.method, url, held.token));
      if (session) headers.set('mcp-session-id', session.id);
      const sent = session?.id;
      response = await fetch(request.url, { method: request.method, headers, body, signal: request.signal, redirect: 'error' });
      if (client.rememberNonce(url, response) && wantsNonce(response)) continue;
      if (response.status === 401 && held && !renewed) {
        const refused = held.token;
        [held, renewed] = [await heldFor(url, refused), true];
        if (held.token === refused) break;
      } else if (response.status !== 404 || !session || !(await session.reopen(sent, request.headers))) {
        break;
      }
    }
    remember(request, body, response);
    return response;
  }

  function remember(request, body, response) {
    const opened = response.headers.get('mcp-session-id');
    if (request.method === 'DELETE') sessions.delete(request.headers.get('mcp-session-id'));
    else if (opened && !sessions.has(opened) && isInitialize(body)) {
      sessions.set(opened, mcpSession(opened, request, body));
      if (sessions.size > MOST_SESSIONS) sessions.delete(sessions.keys().next().value);
    }
  }

  /** A session that is opened again with the client's own `initialize`. */
  function mcpSession(id, opening, body) {
    const headers = Object.fromEntries(['accept', 'content-type'].map((name) => [name, opening.headers.get(name)]));
    const session = { id };
    let reopening;
    async function replay(version) {
      const answer = await send(opening.url, { method: 'POST', headers, body });
      const fresh = answer.headers.get('mcp-session-id');
      await answer.text();
      if (!answer.ok || !fresh) return false;
      // The client knows the old id and keeps using it.
      sessions.delete(fresh);
      const greeting = JSON.stringify({ jsonrpc: '2.0', method: 'notifications/initialized' });
      const inSession = { ...headers, 'mcp-session-id': fresh, ...(version && { 'mcp-protocol-version': version }) };
      await send(opening.url, { method: 'POST', headers: inSession, body: greeting });
      session.id = fresh;
      return true;
    }
    /** Whether there is a session other than the one that was `sent` and refused. */
    session.reopen = async (sent, asked) => {
      if (session.id !== sent) return true;
      reopening ??= replay(asked.get('mcp-protocol-version')).finally(() => (reopening = undefined));
      return reopening;
    };
    return session;
  }

  return send;
}

/** Whether a resource refused a proof because it lacks the nonce that the answer carries. */
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
export function withoutQuery(url) {
  const { origin, pathname } = new URL(url);
  return origin + pathname;
}
