// The session: credentials and token in private fields of one object, never in storage, a cookie, the URL or the page.

/** A failed request, with a message for people. */
export class RequestError extends Error {
  constructor(status, message, code = '') {
    super(message);
    this.status = status;
    this.code = code;
  }
}

const NO_RESPONSE = 'The server does not respond. Check that it is running and can be reached from here.';
const SESSION_ENDED = 'The session has ended: this client can no longer sign in.';
const NO_DUTY = 'This client has no scope for the console, such as mintage:admin or mintage:read.';

/** The duties that open a section, the most powerful first: a client gets no token with one that it lacks. */
const DUTIES = ['admin', 'read', 'clients', 'keys', 'routes', 'tokens', 'audit'];
const WRITING_DUTIES = ['clients', 'keys', 'routes', 'tokens'];

/** A token is renewed after 80 % of its lifetime, which leaves time to retry. */
const RENEW_AT = 0.8;
const RETRY_MS = 5000;
/** The longest timer of a browser. */
const MAX_TIMER_MS = 2 ** 31 - 1;
const REQUEST_TIMEOUT_MS = 15000;

export class Session {
  #id;
  #secret;
  #method;
  #token;
  /** The scope of the token, as a set. */
  #scopes = new Set();
  #timer;
  #renewal;
  #ended;

  /** Called with a message when the session ends without `signOut`. */
  onEnd = () => {};
  /** Called when the duties of the session have changed. */
  onChange = () => {};

  /** Signs in with all duties of the client. */
  static async signIn(id, secret) {
    const session = new Session();
    session.#id = id;
    session.#secret = secret;
    await session.#enter();
    await session.#widen();
    return session;
  }

  get id() {
    return this.#id;
  }

  /** Whether the session has one of these duties. The server decides again about each request. */
  may(...duties) {
    return ['admin', ...duties].some((duty) => this.#scopes.has(`mintage:${duty}`));
  }

  /** Whether the session may make changes. */
  get mayWrite() {
    return this.may(...WRITING_DUTIES);
  }

  /** Whether the session holds every duty in a scope; only then may it change a client that has this scope. */
  holds(scope) {
    const duties = scope.split(' ').filter((token) => token.startsWith('mintage:'));
    return this.may('admin') || duties.every((token) => this.#scopes.has(token));
  }

  /** Reads a JSON document or a text. */
  async get(path) {
    return (await this.send('GET', path)).content;
  }

  /**
   * Sends a request and returns `{ content, etag }`. A token that is denied is renewed once: it may be invalid, or the duties of
   * the client may have changed.
   */
  async send(method, path, document, headers = {}) {
    let answer = await this.#ask(method, path, document, headers);
    if ([401, 403].includes(answer.status) && !this.#ended) {
      await this.#renew();
      answer = await this.#ask(method, path, document, headers);
    }
    if (!answer.ok) throw await errorOf(answer);
    const type = answer.headers.get('Content-Type') ?? '';
    const content = type.startsWith('application/json') ? await answer.json() : await answer.text();
    return { content, etag: answer.headers.get('ETag') };
  }

  /** Discards the credentials and revokes the token. */
  signOut() {
    if (this.#ended) return;
    this.#revoke(this.#token);
    this.#forget();
  }

  #revoke(token) {
    // The response does not matter: this page no longer has the token, and may already be closed.
    const form = new URLSearchParams({ token });
    post('/revoke', form, this.#id, this.#secret, this.#method, { keepalive: true }).catch(() => {});
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

  /** Requests a token with the most powerful duty of the client. */
  async #enter() {
    for (const duty of DUTIES) {
      try {
        return await this.#authenticate(`mintage:${duty}`);
      } catch (error) {
        if (error.code !== 'invalid_scope') throw error;
      }
    }
    throw new RequestError(403, NO_DUTY);
  }

  /** Replaces the token by one with all duties of the client, if it has fewer. Whatever fails, the token stays as it is. */
  async #widen() {
    if (this.may('admin') || this.#ended) return;
    try {
      const answer = await this.#ask('GET', '/admin/self');
      if (!answer.ok) return;
      const { available } = await answer.json();
      if (available.split(' ').every((token) => this.#scopes.has(token)) || this.#ended) return;
      const narrower = this.#token;
      await this.#authenticate(available);
      if (!this.#ended) this.#revoke(narrower);
    } catch {
      // The next renewal tries again.
    }
  }

  /** Requests a token, by the authentication method that has worked, or by the first that does. */
  async #authenticate(scope) {
    const form = new URLSearchParams({ grant_type: 'client_credentials', scope });
    const methods = this.#method ? [this.#method] : ['client_secret_post', 'client_secret_basic'];
    for (const [at, method] of methods.entries()) {
      const answer = await post('/token', form, this.#id, this.#secret, method);
      if (answer.ok) {
        const { access_token, expires_in } = await answer.json();
        if (this.#ended) return;
        this.#method = method;
        this.#scopes = new Set(scope.split(' '));
        this.#token = access_token;
        this.#renewIn(expires_in * 1000 * RENEW_AT);
        return;
      }
      const error = await errorOf(answer);
      if (error.code === 'invalid_scope') this.#method = method;
      // The client may allow only the other method; the response must not reveal that.
      if (error.code !== 'invalid_client' || at === methods.length - 1) throw error;
    }
  }

  #renewIn(milliseconds) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#renew().catch(() => {}), Math.min(milliseconds, MAX_TIMER_MS));
  }

  /** Concurrent requests share one renewal. */
  #renew() {
    this.#renewal ??= this.#renewOnce().finally(() => (this.#renewal = undefined));
    return this.#renewal;
  }

  async #renewOnce() {
    const before = this.#scopes;
    try {
      try {
        await this.#authenticate([...before].join(' '));
      } catch (error) {
        if (error.code !== 'invalid_scope') throw error;
        // It has lost a duty, and may have others.
        await this.#enter();
      }
      await this.#widen();
    } catch (error) {
      if (this.#ended) throw error;
      if (error.status >= 400 && error.status < 500 && error.status !== 429) {
        this.#forget();
        this.onEnd(SESSION_ENDED);
      } else {
        // An outage: the old token is still valid for a while.
        this.#renewIn(RETRY_MS);
      }
      throw error;
    }
    const text = (scopes) => [...scopes].sort().join(' ');
    if (!this.#ended && text(before) !== text(this.#scopes)) this.onChange();
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
    // No cookies, no password prompt of the browser, no cache, no redirects.
    credentials: 'omit',
    cache: 'no-store',
    redirect: 'error',
    signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
  };
  try {
    return await fetch(path, { ...request, ...options });
  } catch {
    throw new RequestError(0, NO_RESPONSE);
  }
}

/** The error of a response: a problem document (RFC 9457) or an OAuth error (RFC 6749 §5.2). */
async function errorOf(answer) {
  const document = await answer.json().catch(() => ({}));
  const status = answer.status;
  const wait = Number(answer.headers.get('Retry-After'));
  if (document.error === 'invalid_client') {
    return new RequestError(status, 'The client id or secret is wrong, or the client is disabled.', document.error);
  }
  if (status === 429) return new RequestError(status, `Too many failed attempts. Try again in ${wait || 60} seconds.`);
  const detail = document.detail ?? document.error_description ?? document.title;
  const message = detail ? sentence(detail) : `The server responded with status ${status}.`;
  if (status === 503) return new RequestError(status, `${message} The database may be unavailable.`);
  return new RequestError(status, message, document.error);
}

function sentence(text) {
  const full = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(full) ? full : `${full}.`;
}
