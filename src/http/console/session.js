// Who is signed in: credentials and token in private fields of one object, never in storage, a cookie, the URL or the page.

/** Why something was not done, in words for people. */
export class Refusal extends Error {
  constructor(status, words, code = '') {
    super(words);
    this.status = status;
    this.code = code;
  }
}

const NO_ANSWER = 'The server does not answer. Is it running, and can this machine reach it?';
const ENDED = 'The session has ended: this client cannot sign in any more.';

/** Where 80 % of its life are over a token is renewed: there is time left to try again. */
const RENEW_AT = 0.8;
const TRY_AGAIN_MS = 5000;
/** The longest time that a browser's timer can wait. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;
/** A server that takes longer is not answering. */
const PATIENCE_MS = 15000;

export class Session {
  #id;
  #secret;
  #method;
  #token;
  #scope;
  #timer;
  #renewal;
  #ended;

  /** Called with words when it ends without `signOut`. */
  onEnd = () => {};

  /** Signs in with the most that the client may: to do everything, or else to look. */
  static async signIn(id, secret) {
    const session = new Session();
    session.#id = id;
    session.#secret = secret;
    for (const scope of ['mintage:admin', 'mintage:read']) {
      try {
        await session.#authenticate(scope);
        return session;
      } catch (refusal) {
        if (refusal.code !== 'invalid_scope') throw refusal;
      }
    }
    throw new Refusal(403, 'This client has neither the scope mintage:admin nor mintage:read.');
  }

  get id() {
    return this.#id;
  }

  /** Whether it may change things. */
  get mayWrite() {
    return this.#scope === 'mintage:admin';
  }

  /** Reads a document, or a text. */
  async get(path) {
    return (await this.send('GET', path)).content;
  }

  /** Sends a document; what came back as `{ content, etag }`. A token that does not count any more is renewed once. */
  async send(method, path, document, headers = {}) {
    let answer = await this.#ask(method, path, document, headers);
    if (answer.status === 401 && !this.#ended) {
      await this.#renew();
      answer = await this.#ask(method, path, document, headers);
    }
    if (!answer.ok) throw await refusalOf(answer);
    const type = answer.headers.get('Content-Type') ?? '';
    const content = type.startsWith('application/json') ? await answer.json() : await answer.text();
    return { content, etag: answer.headers.get('ETag') };
  }

  /** Forgets everything, and takes the token back at the server. */
  signOut() {
    if (this.#ended) return;
    const form = new URLSearchParams({ token: this.#token });
    // Nobody waits for the answer: whatever it is, this page has no token any more. It may be closed already.
    post('/revoke', form, this.#id, this.#secret, this.#method, { keepalive: true }).catch(() => {});
    this.#forget();
  }

  #forget() {
    clearTimeout(this.#timer);
    this.#ended = true;
    this.#secret = this.#token = undefined;
  }

  #ask(method, path, document, headers) {
    const all = { ...headers, Authorization: `Bearer ${this.#token}` };
    if (document !== undefined) all['Content-Type'] = 'application/json';
    const body = document === undefined ? undefined : JSON.stringify(document);
    return ask(path, { method, headers: all, body });
  }

  /** Gets a token: by the way that has worked, or by the first of both that does. */
  async #authenticate(scope) {
    const form = new URLSearchParams({ grant_type: 'client_credentials', scope });
    const methods = this.#method ? [this.#method] : ['client_secret_post', 'client_secret_basic'];
    for (const [at, method] of methods.entries()) {
      const answer = await post('/token', form, this.#id, this.#secret, method);
      if (answer.ok) {
        const { access_token, expires_in } = await answer.json();
        if (this.#ended) return;
        this.#method = method;
        this.#scope = scope;
        this.#token = access_token;
        this.#renewIn(expires_in * 1000 * RENEW_AT);
        return;
      }
      const refusal = await refusalOf(answer);
      // The client may allow the other way only; the answer does not tell, and must not.
      if (refusal.code !== 'invalid_client' || at === methods.length - 1) throw refusal;
    }
  }

  #renewIn(milliseconds) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#renew().catch(() => {}), Math.min(milliseconds, LONGEST_TIMER_MS));
  }

  /** One renewal at a time, however many requests want it. */
  #renew() {
    this.#renewal ??= this.#renewOnce().finally(() => (this.#renewal = undefined));
    return this.#renewal;
  }

  async #renewOnce() {
    try {
      await this.#authenticate(this.#scope);
    } catch (refusal) {
      if (this.#ended) throw refusal;
      if (refusal.status >= 400 && refusal.status < 500 && refusal.status !== 429) {
        this.#forget();
        this.onEnd(ENDED);
      } else {
        // An outage: the old token still counts for a while.
        this.#renewIn(TRY_AGAIN_MS);
      }
      throw refusal;
    }
  }
}

function post(path, form, id, secret, method, more = {}) {
  const body = new URLSearchParams(form);
  const headers = {};
  if (method === 'client_secret_basic') {
    headers.Authorization = `Basic ${btoa(`${formEncoded(id)}:${formEncoded(secret)}`)}`;
  } else {
    body.set('client_id', id);
    body.set('client_secret', secret);
  }
  return ask(path, { ...more, method: 'POST', headers, body });
}

/** As in a form (RFC 6749 §2.3.1). */
function formEncoded(text) {
  return new URLSearchParams({ '': text }).toString().slice(1);
}

async function ask(path, request) {
  const options = {
    // No cookies, no prompt of the browser for a password, nothing kept, nowhere else.
    credentials: 'omit',
    cache: 'no-store',
    redirect: 'error',
    signal: AbortSignal.timeout(PATIENCE_MS),
  };
  try {
    return await fetch(path, { ...request, ...options });
  } catch {
    throw new Refusal(0, NO_ANSWER);
  }
}

/** An answer that is no success, in words: a problem document (RFC 9457), or an error of OAuth. */
async function refusalOf(answer) {
  const document = await answer.json().catch(() => ({}));
  const status = answer.status;
  const wait = Number(answer.headers.get('Retry-After'));
  if (document.error === 'invalid_client') {
    return new Refusal(status, 'The id or the secret is wrong, or the client is disabled.', document.error);
  }
  if (status === 429) return new Refusal(status, `Too many failed tries. Try again in ${wait || 60} seconds.`);
  const said = document.detail ?? document.error_description ?? document.title;
  const words = said ? sentence(said) : `The server answered ${status}.`;
  if (status === 503) return new Refusal(status, `${words} The database may be away.`);
  return new Refusal(status, words, document.error);
}

function sentence(text) {
  const full = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(full) ? full : `${full}.`;
}
