// The MCP SDK as a client of an API that names its authorization server (RFC 9728).
import http from 'node:http';
import { auth } from '@modelcontextprotocol/sdk/client/auth.js';
import { ClientCredentialsProvider } from '@modelcontextprotocol/sdk/client/auth-extensions.js';
import { createRemoteJWKSet, jwtVerify } from 'jose';

const [issuer, clientId, clientSecret, port] = process.argv.slice(2);
const audience = `http://127.0.0.1:${port}/mcp`;
const unexpected = [];
const api = http.createServer((request, response) => {
  if (request.url.startsWith('/.well-known/oauth-protected-resource')) {
    response.setHeader('Content-Type', 'application/json');
    response.end(JSON.stringify({ resource: audience, authorization_servers: [issuer] }));
  } else {
    // Above all not `POST /token` with the credentials.
    unexpected.push(request.url);
    response.writeHead(404).end();
  }
});
await new Promise((resolve) => api.listen(port, '127.0.0.1', resolve));
const provider = new ClientCredentialsProvider({ clientId, clientSecret, expectedIssuer: issuer });
const result = await auth(provider, { serverUrl: audience });
api.close();
if (result !== 'AUTHORIZED' || unexpected.length > 0) {
  throw new Error(`${result} ${unexpected}`);
}
const metadata = await (await fetch(`${issuer}/.well-known/openid-configuration`)).json();
const keys = createRemoteJWKSet(new URL(metadata.jwks_uri));
await jwtVerify(provider.tokens().access_token, keys, { issuer, audience, typ: 'at+jwt' });
console.log('the token is valid');
