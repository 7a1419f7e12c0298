// What can go wrong, and what a refusal says.

export class RemitError extends Error {
  get name() {
    return this.constructor.name;
  }
}

export class KeyUnusable extends RemitError {}
export class Unreachable extends RemitError {}
export class SignInFailed extends RemitError {}

export class Refused extends RemitError {
  constructor(status, body) {
    const error = body.error ?? 'unknown';
    const [code, reason] = [body.remit_code ?? error, body.error_description ?? 'the server gives no reason'];
    super(`${reason} [${code}${body.remit_record ? `, record ${body.remit_record}` : ''}]`);
    Object.assign(this, { status, error, code, reason, record: body.remit_record });
  }
}

/** Looks where Remit's refusals end up: errors of this package and of the SDKs, results of tools, and their text. */
export function refusalOf(error) {
  if (error instanceof Refused) return { code: error.code, reason: error.reason, record: error.record };
  if (typeof error === 'string') return inText(error);
  if (typeof error !== 'object' || error === null) return undefined;
  const meta = error._meta ?? error.result?._meta;
  if (meta?.['remit/code']) return refusal(meta['remit/code'], meta['remit/reason'], meta['remit/record']);
  const data = error.data ?? error.error?.data;
  if (typeof data?.code === 'string') return refusal(data.code, data.reason, data.record);
  if (error.remit_code) return refusal(error.remit_code, error.error_description, error.remit_record);
  return refusalOf(error.cause) ?? inText(error.message) ?? inText(error.content?.find?.((block) => block.type === 'text')?.text);
}

/** An answer that an SDK put into its message, or the end of a refused tool's text. */
function inText(text) {
  if (typeof text !== 'string') return undefined;
  try {
    const found = refusalOf(JSON.parse(text.slice(text.indexOf('{'))));
    if (found) return found;
  } catch {
    // The text holds no JSON.
  }
  const [, reason, code, record] = text.match(/^([\s\S]*) \[([a-z][a-z_]+), record ([0-9a-f-]{36})\]/) ?? [];
  return code && refusal(code, reason, record);
}

const refusal = (code, reason, record) => ({ code, reason: reason ?? code, ...(record && { record }) });
