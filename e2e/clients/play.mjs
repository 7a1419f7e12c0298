// Plays a script through a connected client: list, then each call in turn in the same session. Prints one JSON object.
//
// Script: {connect: {command, args, env} | {url, token, key_file}, calls: [{name, arguments, meta, progress}]}
import { readFileSync } from 'node:fs';

export const script = JSON.parse(readFileSync(process.argv[2], 'utf8'));

export async function play(client, protocol, call) {
  const listed = await client.listTools();
  const tools = listed.tools.map((tool) => tool.name);
  const calls = [];
  for (const { name, arguments: args, meta, progress } of script.calls) {
    const seen = [];
    try {
      const params = { name, arguments: args ?? {}, ...(meta && { _meta: meta }) };
      const result = await call(client, params, progress ? { onprogress: (p) => seen.push(p) } : {});
      const text = result.content?.find((block) => block.type === 'text')?.text;
      calls.push({ name, isError: result.isError ?? false, structured: result.structuredContent, text, refused: result._meta?.['remit/code'], progress: seen.length });
    } catch (error) {
      calls.push({ name, error: { code: error.code, message: error.message, data: error.data }, progress: seen.length });
    }
  }
  const report = { protocol: protocol(), tools, calls };
  await client.close();
  console.log(JSON.stringify(report));
}
