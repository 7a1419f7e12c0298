/** What is asked for: scopes (`helpdesk:tickets_read`) or RFC 9396 details; without both, all that may be given. */
export interface Asked {
  scope?: string;
  authorization_details?: readonly object[];
  /** What the authority is for. The person reads it; policies can use it. */
  purpose?: string;
}

export interface SignIn extends Asked {
  /** The MCP server's address at Remit. */
  resource: string;
  /** Shows the person an address. */
  openUrl(url: string): unknown;
}

export interface Delegated extends Asked {
  /** Seconds. */
  requested_lifetime?: number;
}

export interface AgentOptions extends Omit<Asked, 'purpose'> {
  issuer: string;
  /** As registered, `planner` or `agent:planner`; or the `client_id` of a client that registered itself. */
  agent: string;
  /** The private key that `remit agent add` writes: the content of the PEM file. */
  key: string | Uint8Array;
  /** The agent acts for the person who signs in here, which happens when a token is first needed. */
  signIn?: SignIn;
}

export interface RemitAgent {
  readonly issuer: string;
  readonly clientId: string;
  /** Why the last renewal of a token failed; undefined after one that succeeded. */
  readonly refusal: RemitError | undefined;
  /** A `fetch` with this agent's credentials. It never rejects for a refusal: the server's 401 says why. */
  readonly fetch: typeof globalThis.fetch;
  /** Starts the sign-in of the options again, or ahead of the first request. */
  signIn(): Promise<void>;
  /** A token for `resource`, not the one that the server refused (`ended`), that holds for `lasting` seconds. */
  token(resource: string, options?: { ended?: string; lasting?: number }): Promise<string>;
  /** `sub` acting with a part of this agent's authority, whose grant must name it in `delegate.to`. */
  child(sub: RemitAgent, asked?: Delegated): RemitAgent;
}

export function remitAgent(options: AgentOptions): RemitAgent;

/** An OAuth provider with `dpop()` for MCP SDK 2.4 and later, where a `fetch` cannot be given. */
export function authProvider(agent: RemitAgent, resource: string | URL): any;

/** The `fetch` of a Mastra server definition; `pick` names the agent for each call. */
export function mastraFetch(
  pick: (requestContext: any) => RemitAgent | undefined,
): (url: string | URL, init?: RequestInit, requestContext?: any) => Promise<Response>;

/** LangChain tools of one MCP server. Close `client` when done. */
export function langchainTools(
  server: { name: string; url: string | URL },
  agent: RemitAgent,
): Promise<{ tools: any[]; client: { close(): Promise<void> } }>;

export interface Refusal {
  /** Stable; docs/refusals.md lists all. */
  code: string;
  /** What would be enough. */
  reason: string;
  /** The ledger record. */
  record?: string;
}

/** What Remit said, in an error of this package or of an MCP SDK, in a tool's result or in its text. */
export function refusalOf(error: unknown): Refusal | undefined;

export class RemitError extends Error {}
/** The key is no P-256 or Ed25519 private key in PEM. */
export class KeyUnusable extends RemitError {}
/** The server did not answer, or something else answered in its place. */
export class Unreachable extends RemitError {}
/** The person refused or did not sign in, or the browser's answer cannot be trusted. */
export class SignInFailed extends RemitError {}
/** The server refused a token. */
export class Refused extends RemitError implements Refusal {
  readonly status: number;
  readonly error: string;
  readonly code: string;
  readonly reason: string;
  readonly record?: string;
}
