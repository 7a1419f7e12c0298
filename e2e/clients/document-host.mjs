// A host of client metadata documents over TLS: every path is the id of a public client with these redirect URIs.
//
// Arguments: port, certificate, key, client name, redirect URIs …; says `listening` once it does.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';

const [port, cert, key, name, ...redirects] = process.argv.slice(2);
createServer({ cert: readFileSync(cert), key: readFileSync(key) }, (request, response) => {
  const document = {
    client_id: `https://localhost:${port}${request.url}`, client_name: name, redirect_uris: redirects, token_endpoint_auth_method: 'none',
    grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'],
  };
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(document));
}).listen(Number(port), '127.0.0.1', () => console.log('listening'));
