// One agent: its tokens, and whose authority they carry.
import { agentFetch } from './agent-fetch.js';
import { RemitError } from './errors.js';
import { askPerson } from './login.js';
import { now, parameters, tokenClient } from './token-client.js';

const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';
/** Seconds before its end at which a token is renewed. */
const RENEW_BEFORE = 10;
/** Milliseconds for which a failed renewal is not tried again, so that waiting requests do not fail one after the other. */
const RETRY_AFTER = 1000;

export function remitAgent(options) {
  const client = tokenClient(options);
  return new Agent(client, options.signIn ? signedIn(client, options.signIn) : itself(client, options));
}

class Agent {
  #client;
  #source;
  #held = new Map();
  #renewing = new Map();
  #failed = new Map();

  constructor(client, source) {
    this.#client = client;
    this.#source = source;
    this.issuer = client.issuer;
    this.clientId = client.clientId;
    this.refusal = undefined;
    this.fetch = agentFetch(client, (resource, ended) => this.#heldOrLast(resource, ended));
  }

  async signIn() {
    if (!this.#source.begin) throw new RemitError('this agent acts for no person: give remitAgent a `signIn`');
    const answer = await this.#source.begin();
    this.#failed.clear();
    this.#keep(this.#source.resource, answer);
  }

  async token(resource, options) {
    return (await this.#current(resource, options)).token;
  }

  async #current(resource, { ended, lasting = RENEW_BEFORE } = {}) {
    const held = this.#held.get(resource);
    if (held && held.token !== ended && now() < held.ends - lasting) return held;
    const failed = this.#failed.get(resource);
    if (failed && Date.now() < failed.until) throw failed.error;
    // One renewal at a time: all who need the token wait for the same promise.
    if (!this.#renewing.has(resource)) {
      const parent = held?.token === ended ? held?.parent : undefined;
      this.#renewing.set(resource, this.#renew(resource, parent).finally(() => this.#renewing.delete(resource)));
    }
    return this.#renewing.get(resource);
  }

  child(sub, asked = {}) {
    if (!(sub instanceof Agent)) throw new RemitError('a sub-agent is made by remitAgent, with a key of its own');
    return new Agent(sub.#client, delegated(this, this.#client, sub.#client, asked));
  }

  /** For frameworks.js: the client, and the form of the agent's own grant. */
  static inside(agent) {
    return { client: agent.#client, grant: agent.#source.grant, keep: (resource, answer) => agent.#keep(resource, answer) };
  }

  async #renew(resource, parent) {
    try {
      const held = this.#keep(resource, ...(await this.#source.renew(resource, parent)));
      this.#failed.delete(resource);
      return held;
    } catch (error) {
      this.#failed.set(resource, { error, until: Date.now() + RETRY_AFTER });
      throw error;
    }
  }

  #keep(resource, answer, parent) {
    this.#source.keep?.(answer);
    // SPEC: RFC 6749 section 7.1: an agent that is registered with `binding: danger_bearer` gets tokens that need no proof.
    const bearer = answer.token_type?.toLowerCase() === 'bearer';
    const held = { token: answer.access_token, bearer, ends: now() + (answer.expires_in ?? 0), parent };
    this.#held.set(resource, held);
    return held;
  }

  /** The last token when there is no new one, because the server's 401 says why. */
  async #heldOrLast(resource, ended) {
    try {
      const held = await this.#current(resource, { ended });
      this.refusal = undefined;
      return held;
    } catch (error) {
      if (!(error instanceof RemitError)) throw error;
      this.refusal = error;
      return this.#held.get(resource);
    }
  }
}

export const inside = Agent.inside;

/** The agent's own authority (RFC 6749 section 4.4). */
function itself(client, asked) {
  const grant = (resource) => ({ grant_type: 'client_credentials', resource, ...parameters(asked) });
  return { grant, renew: async (resource) => [await client.request(grant(resource))] };
}

/** A person's, who signs in once. Every use of a refresh token gives the next one. */
function signedIn(client, signIn) {
  let [asking, refreshToken] = [];
  const source = {
    resource: signIn.resource,
    begin: () => (asking = askPerson(client, signIn)),
    grant: (resource) => ({ grant_type: 'refresh_token', refresh_token: refreshToken, resource }),
    keep(answer) {
      refreshToken = answer.refresh_token ?? refreshToken;
    },
    async renew(resource) {
      if (resource !== signIn.resource) {
        throw new RemitError(`the person signed in for ${signIn.resource}; ${resource} needs a sign-in of its own`);
      }
      if (!asking) return [await source.begin()];
      // A sign-in that failed is not started again by the next request: people are asked once.
      await asking;
      return [await client.request(source.grant(resource))];
    },
  };
  return source;
}

/** A part of another agent's (RFC 8693): the parent asks, and the child shows itself with a token for the issuer. */
function delegated(parent, asking, child, { requested_lifetime: lifetime, ...asked }) {
  return {
    async renew(resource, ended) {
      // A token that was taken from a revoked one is revoked with it, so the parent needs a new one as well.
      const subject = await parent.token(resource, { ended, lasting: Math.max(RENEW_BEFORE, lifetime ?? 0) });
      const actor = await child.request({ grant_type: 'client_credentials', resource: child.issuer });
      const answer = await asking.request({
        grant_type: EXCHANGE, resource, subject_token: subject, subject_token_type: ACCESS_TOKEN,
        actor_token: actor.access_token, actor_token_type: ACCESS_TOKEN,
        ...parameters(asked), ...(lifetime && { requested_lifetime: String(lifetime) }),
      });
      return [answer, subject];
    },
  };
}
