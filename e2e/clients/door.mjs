// What the programs at the front door share: the script, versions, and the report.
import { readFileSync } from 'node:fs';

export const script = JSON.parse(readFileSync(process.argv[2], 'utf8'));

export const installed = (name, from = import.meta.url) =>
  JSON.parse(readFileSync(new URL(`node_modules/${name}/package.json`, from), 'utf8')).version;

/** What a client printed stands for itself: an error of it has no name. */
const words = ({ name, message, error_description: described }) => (name ? `${name}: ${described ?? message}` : message);

/** What each of `[client, mode, kind, door]` gets. The kinds are those of doors/mod.rs. */
export async function report(doors) {
  const found = [];
  for (const [client, mode, kind, door] of doors) {
    try {
      found.push({ client, mode, kind, result: await door() });
    } catch (error) {
      found.push({ client, mode, kind, words: words(error) });
    }
  }
  console.log(JSON.stringify(found));
}
