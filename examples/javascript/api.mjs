// An API that asks Mintage about each token (RFC 7662) before it answers.

import { createServer } from "node:http";

const MINTAGE_URL = process.env.MINTAGE_URL ?? "http://127.0.0.1:8080";
const { API_CLIENT_ID, API_CLIENT_SECRET, API_PORT = "9090" } = process.env;
const SCOPE = "orders:read";

if (!API_CLIENT_ID || !API_CLIENT_SECRET) {
  console.error("set API_CLIENT_ID and API_CLIENT_SECRET");
  process.exit(1);
}

// Id and secret are form-encoded before Basic encodes them (RFC 6749 section 2.3.1).
const encode = (text) => new URLSearchParams({ "": text }).toString().slice(1);
const credentials = Buffer.from(`${encode(API_CLIENT_ID)}:${encode(API_CLIENT_SECRET)}`).toString("base64");

/** What Mintage says of a token; throws when Mintage cannot answer. */
async function introspect(token) {
  const response = await fetch(`${MINTAGE_URL}/introspect`, {
    method: "POST",
    headers: { Authorization: `Basic ${credentials}` },
    body: new URLSearchParams({ token }),
    signal: AbortSignal.timeout(5_000),
  });
  if (!response.ok) throw new Error(`/introspect answered ${response.status}`);
  return response.json();
}

function answer(response, status, document, headers = {}) {
  response.writeHead(status, { "Content-Type": "application/json", ...headers });
  response.end(JSON.stringify(document));
}

const deny = (response, status, challenge) =>
  answer(response, status, { error: "access_denied" }, { "WWW-Authenticate": challenge });

const server = createServer(async (request, response) => {
  const [, token] = /^bearer +(\S+)$/i.exec(request.headers.authorization ?? "") ?? [];
  if (!token) return deny(response, 401, "Bearer");
  let told;
  try {
    told = await introspect(token);
  } catch (error) {
    console.error(`introspection failed: ${error.message}`);
    // Unknown, which does not mean "inactive".
    return answer(response, 503, { error: "temporarily_unavailable" }, { "Retry-After": "1" });
  }
  if (!told.active) return deny(response, 401, 'Bearer error="invalid_token"');
  if (!told.scope.split(" ").includes(SCOPE)) {
    return deny(response, 403, `Bearer error="insufficient_scope", scope="${SCOPE}"`);
  }
  const [, number] = /^\/orders\/(\d+)$/.exec(request.url) ?? [];
  if (!number) return answer(response, 404, { error: "not_found" });
  answer(response, 200, { order: number, read_by: told.client_id });
});
server.requestTimeout = 10_000;
server.listen(Number(API_PORT), "127.0.0.1", () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
});
