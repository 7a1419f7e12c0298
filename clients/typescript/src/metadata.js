// What the server says of itself: where its endpoints are (RFC 8414).
import { RemitError, Unreachable } from './errors.js';

/** Longest wait for one document, in milliseconds. */
const TIMEOUT = 30_000;

/** The metadata of this issuer. Another one's would have the agent's assertions sent elsewhere, so it is refused. */
export async function metadataOf(issuer) {
  const { origin, pathname } = new URL(issuer);
  const path = pathname === '/' ? '' : pathname;
  const places = [`${origin}/.well-known/oauth-authorization-server${path}`, `${origin}/.well-known/openid-configuration${path}`];
  if (path) places.push(`${issuer}/.well-known/openid-configuration`);
  for (const place of places) {
    const metadata = await read(place);
    if (!metadata) continue;
    if (metadata.issuer !== issuer) throw new RemitError(`${place} describes ${metadata.issuer}, not ${issuer}; check the issuer`);
    return metadata;
  }
  throw new Unreachable(`${issuer} does not say where its endpoints are (${places[0]}); check the issuer`);
}

async function read(place) {
  try {
    const response = await fetch(place, { redirect: 'error', signal: AbortSignal.timeout(TIMEOUT) });
    return response.ok ? await response.json() : undefined;
  } catch (error) {
    const why = error.cause?.message ?? error.message;
    throw new Unreachable(`no answer from ${place}: ${why}; check the issuer, and that the server runs`, { cause: error });
  }
}
