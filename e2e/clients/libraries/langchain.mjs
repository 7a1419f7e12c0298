// LangChain's tools of one server, through the TypeScript library: lists them and calls each that the arguments name.
//
// Arguments: issuer, agent, key file, URL. Prints {names, read, refused}.
import { readFileSync } from 'node:fs';
import { langchainTools, refusalOf, remitAgent } from '@remit/agent';

const [issuer, name, keyFile, url] = process.argv.slice(2);
const agent = remitAgent({ issuer, agent: name, key: readFileSync(keyFile) });
const { tools, client } = await langchainTools({ name: 'helpdesk', url }, agent);
const tool = (wanted) => tools.find((found) => found.name.endsWith(wanted));
const read = await tool('tickets_read').invoke({ id: 'T-1001' });
const refused = await tool('tickets_update').invoke({ id: 'T-1001', status: 'closed' }).then(() => undefined, refusalOf);
await client.close();
console.log(JSON.stringify({ names: tools.map((found) => found.name), read: JSON.stringify(read), refused }));
