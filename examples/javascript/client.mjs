// Gets an access token (RFC 6749 section 4.4) and calls an API with it (RFC 6750), twice.

const MINTAGE_URL = process.env.MINTAGE_URL ?? "http://127.0.0.1:8080";
const API_URL = process.env.API_URL ?? "http://127.0.0.1:9090";
const TIMEOUT = 10_000; // milliseconds

/** Keeps one token and gets the next one 30 s before it expires. */
class TokenSource {
  #authorization;
  #form;
  #token;
  #renewAt = 0;

  constructor(id, secret, scope) {
    // Id and secret are form-encoded before Basic encodes them (RFC 6749 section 2.3.1).
    const encode = (text) => new URLSearchParams({ "": text }).toString().slice(1);
    this.#authorization = "Basic " + Buffer.from(`${encode(id)}:${encode(secret)}`).toString("base64");
    this.#form = new URLSearchParams({ grant_type: "client_credentials", scope });
  }

  async get() {
    if (!this.#token || performance.now() >= this.#renewAt) {
      const response = await fetch(`${MINTAGE_URL}/token`, {
        method: "POST",
        headers: { Authorization: this.#authorization },
        body: this.#form,
        signal: AbortSignal.timeout(TIMEOUT),
      });
      if (!response.ok) throw new Error(`/token answered ${response.status}: ${await response.text()}`);
      const answer = await response.json();
      this.#token = answer.access_token;
      this.#renewAt = performance.now() + (answer.expires_in - 30) * 1000;
    }
    return this.#token;
  }

  forget() {
    this.#token = undefined;
  }
}

async function getOrder(tokens, number) {
  for (let attempt = 1; ; attempt++) {
    const response = await fetch(`${API_URL}/orders/${number}`, {
      headers: { Authorization: `Bearer ${await tokens.get()}` },
      signal: AbortSignal.timeout(TIMEOUT),
    });
    const body = await response.text();
    if (response.ok) return body;
    if (response.status !== 401 || attempt > 1) throw new Error(`the API answered ${response.status}: ${body}`);
    // The token may have been revoked: one more try with a new one.
    tokens.forget();
  }
}

const { CLIENT_ID, CLIENT_SECRET } = process.env;
if (!CLIENT_ID || !CLIENT_SECRET) {
  console.error("set CLIENT_ID and CLIENT_SECRET");
  process.exit(1);
}
try {
  const tokens = new TokenSource(CLIENT_ID, CLIENT_SECRET, "orders:read");
  for (let call = 0; call < 2; call++) console.log(await getOrder(tokens, 1));
} catch (error) {
  console.error(`request failed: ${error.cause?.message ?? error.message}`);
  process.exit(1);
}
