// openid-client as a client and jose as a resource server, with either document of an issuer.
import * as client from 'openid-client';
import { createRemoteJWKSet, jwtVerify } from 'jose';

const [issuer, id, secret, port, given] = process.argv.slice(2);
const audience = `http://127.0.0.1:${port}/mcp`;
for (const algorithm of ['oidc', 'oauth2']) {
  // For plain http on loopback.
  const options = { algorithm, execute: [client.allowInsecureRequests] };
  const config = await client.discovery(new URL(issuer), id, secret, undefined, options);
  const token = given ?? (await client.clientCredentialsGrant(config, { resource: audience })).access_token;
  const keys = createRemoteJWKSet(new URL(config.serverMetadata().jwks_uri));
  await jwtVerify(token, keys, { issuer, audience, typ: 'at+jwt' });
}
console.log('the token is valid');
