// An AI agent's credentials for Remit; index.d.ts describes what is exported.
export { remitAgent } from './agent.js';
export { KeyUnusable, Refused, refusalOf, RemitError, SignInFailed, Unreachable } from './errors.js';
export { authProvider, langchainTools, mastraFetch } from './frameworks.js';
