// Clients: the list, and one client with its secrets, its tokens and all actions.

import {
  attempt, button, chosen, copyButton, createErrorBox, element, fields, heading, lifetime, lines, loadFirst, moment, mono,
  notify, pill, relative, table, template,
} from './elements.js';
import { confirmDialog, formDialog, secretDialog } from './dialogs.js';
import { tokensPart } from './tokens.js';

const DAY = 86400;

/** The path of a client. A browser resolves `.` and `..` away, so these ids cannot be requested. */
function pathOf(id) {
  if (id === '.' || id === '..') throw new Error('A browser cannot request this id. Use mintage client on the command line.');
  return `/admin/clients/${encodeURIComponent(id)}`;
}

function hashOf(id) {
  return `#clients/${encodeURIComponent(id)}`;
}

function status(client) {
  return client.enabled ? pill('enabled', 'ok') : pill('disabled', 'warn');
}

/** The list, or one client if `id` is given. */
export function clients(place, context, id) {
  return id === undefined ? list(place, context) : one(place, context, id);
}

function list(place, { session }) {
  const known = [];
  /** Clients that a search found beyond those in the order of the list. */
  let found = [];
  /** What was searched for, if there may be more matches than those. */
  let foundMore = null;
  let cursor = null;
  const errorBox = createErrorBox();
  const rows = element('div', { class: 'card flush' });
  const filter = element('input', { type: 'search', 'aria-label': 'Filter by name, id, scope or label', placeholder: 'Filter', input: show });
  filter.addEventListener('keydown', (event) => event.key === 'Enter' && find());
  const more = button('Load more', () => attempt(more, errorBox, load));
  more.hidden = true;
  const direct = element('p');
  const create = button('Create client…', () => createDialog(session), 'primary');
  place.append(heading('Clients', filter, session.may('clients') && create), errorBox, rows, direct, more);

  async function load() {
    const page = await session.get(`/admin/clients?limit=200${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''}`);
    known.push(...page.items);
    found = found.filter(({ client_id }) => !page.items.some((client) => client.client_id === client_id));
    cursor = page.next_cursor;
    more.hidden = cursor === null;
    show();
  }

  /** Searches the clients that are not loaded yet, up to the first page with a match. */
  async function find() {
    const wanted = filter.value.trim();
    if (cursor === null || wanted === '') return;
    const query = new URLSearchParams({ [wanted.includes('=') ? 'label' : 'name']: wanted, limit: 200 });
    await attempt(more, errorBox, async () => {
      let page;
      do {
        page = await session.get(`/admin/clients?${query}`);
        query.set('cursor', page.next_cursor);
      } while (page.items.length === 0 && page.next_cursor !== null && filter.value.trim() === wanted);
      found = page.items.filter(({ client_id }) => !known.some((client) => client.client_id === client_id));
      foundMore = page.next_cursor === null ? null : wanted;
      show();
    });
  }

  function show() {
    const wanted = filter.value.trim().toLowerCase();
    const texts = (client) => [client.name, client.client_id, client.scope, ...labelTexts(client)];
    const matches = (client) => texts(client).join(' ').toLowerCase().includes(wanted);
    const shown = [...known, ...found].filter(matches);
    const hint = cursor === null ? '' : ' Press Enter to search all clients for this name, or for a label as in team=x.';
    const nothing = known.length === 0 ? 'No clients yet.' : `No match among the ${known.length} loaded clients.${hint}`;
    rows.replaceChildren(table('Clients', ['Client', 'Status', 'Scope', 'Token lifetime', 'Updated'], shown.map(row), nothing));
    // There may be thousands of clients: an id leads to its client without loading all of them.
    const id = filter.value.trim();
    const notLoaded = cursor !== null && id !== '' && ![...known, ...found].some((client) => client.client_id === id);
    const unshown = foundMore !== null && foundMore === filter.value.trim();
    const narrower = 'More clients may match: narrow the search, or use mintage client list. ';
    direct.replaceChildren(...(unshown ? [narrower] : []), ...(notLoaded ? ['Not loaded yet: ', element('a', { href: hashOf(id) }, 'Open client ', mono(id))] : []));
  }

  function row(client) {
    const link = element('a', { href: hashOf(client.client_id) }, chosen(client.name));
    const scope = client.scope === '' ? element('span', { class: 'soft' }, 'none') : mono(client.scope);
    const kind = [client.alg, client.ttl_seconds && lifetime(client.ttl_seconds)].filter(Boolean).join(', ');
    return [
      element('span', { class: 'two' }, link, mono(client.client_id)),
      status(client),
      scope,
      element('span', { class: kind ? 'word' : 'soft word' }, kind || 'server default'),
      element('span', { class: 'word' }, relative(client.updated_at)),
    ];
  }

  loadFirst(more, errorBox, rows, load);
}

function createDialog(session) {
  formDialog({
    title: 'Create client',
    content: template('client-fields'),
    action: 'Create client',
    work: async (form) => {
      const wanted = members(form, null);
      const id = fields(form).client_id;
      if (id) wanted.client_id = id;
      const { content } = await session.send('POST', '/admin/clients', wanted);
      return () =>
        secretDialog({
          title: 'Client created',
          clientId: content.client_id,
          secret: content.client_secret,
          then: () => (location.hash = hashOf(content.client_id)),
        });
    },
  });
}

function orNull(text) {
  return text === '' ? null : text;
}

/** The custom claims in a text; those of `before` if it was not changed. */
function claimsOf(text, before) {
  if (text === textOf(before)) return before;
  if (text.trim() === '') return null;
  let claims;
  let rounded = false;
  try {
    claims = JSON.parse(text, (_, value) => {
      rounded ||= typeof value === 'number' && (!Number.isFinite(value) || (Number.isInteger(value) && !Number.isSafeInteger(value)));
      return value;
    });
  } catch {
    throw new Error('Custom claims must be a JSON object.');
  }
  const repeated = repeatedName(text);
  if (repeated !== null) throw new Error(`Custom claims repeat the name ${JSON.stringify(repeated)}.`);
  if (rounded) throw new Error('Custom claims contain a number that browsers round: set them on the command line.');
  return claims;
}

/** A name that comes twice in one object of a JSON text, or null; JSON.parse keeps the last value without a word. */
function repeatedName(text) {
  const open = [];
  for (const [token, string, colon] of text.matchAll(/("(?:[^"\\]|\\.)*")\s*(:)?|[{}[\]]/g)) {
    if (token === '{' || token === '[') open.push(new Set());
    else if (token === '}' || token === ']') open.pop();
    else if (colon) {
      const name = JSON.parse(string);
      if (open.at(-1).has(name)) return name;
      open.at(-1).add(name);
    }
  }
  return null;
}

function textOf(claims) {
  return claims === null ? '' : JSON.stringify(claims);
}

/** `KEY=VALUE` for each label. */
function labelTexts(client) {
  return Object.entries(client.labels).map(([key, value]) => `${key}=${value}`);
}

/** The labels in the lines of a text; those of `before` if it was not changed. The server checks keys and values. */
function labelsOf(text, before) {
  if (before !== null && text === labelTexts(before).join('\n').trim()) return before.labels;
  const pairs = lines(text).map((line) => {
    const at = line.indexOf('=');
    if (at < 1) throw new Error('Labels must be lines of the form key=value.');
    return [line.slice(0, at).trim(), line.slice(at + 1).trim()];
  });
  pairs.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  if (pairs.some(([key], at) => at > 0 && key === pairs[at - 1][0])) throw new Error('Labels must have each key once.');
  return Object.fromEntries(pairs);
}

/** The members of a client in a form; only those that differ from `before`, if it is given. */
function members(form, before) {
  const values = fields(form);
  const data = new FormData(form);
  const all = {
    name: values.name,
    scope: values.scope.split(/\s+/).filter(Boolean).join(' '),
    default_scope: values.default_scope === '' ? null : values.default_scope.split(/\s+/).join(' '),
    audiences: lines(values.audiences),
    introspection_audiences: lines(values.introspection_audiences),
    auth_methods: data.getAll('auth_methods'),
    ttl_seconds: values.ttl_seconds === '' ? null : Number(values.ttl_seconds),
    alg: orNull(values.alg),
    default_audience: orNull(values.default_audience),
    claims: claimsOf(values.claims, before?.claims ?? null),
    scope_claim: orNull(values.scope_claim),
    typ: orNull(values.typ),
    labels: labelsOf(values.labels, before),
  };
  if (before === null) return all;
  const shown = { ...before, default_scope: before.default_scope === '' ? null : before.default_scope };
  return Object.fromEntries(Object.entries(all).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(shown[name])));
}

function fill(form, client) {
  const set = (name, value) => (form.elements[name].value = value ?? '');
  const texts = ['name', 'scope', 'default_scope', 'ttl_seconds', 'alg', 'default_audience', 'scope_claim', 'typ'];
  for (const name of texts) set(name, client[name]);
  set('claims', textOf(client.claims));
  set('labels', labelTexts(client).join('\n'));
  set('audiences', client.audiences.join('\n'));
  set('introspection_audiences', client.introspection_audiences.join('\n'));
  for (const box of form.elements.auth_methods) box.checked = client.auth_methods.includes(box.value);
}

function one(place, { session }, id) {
  const path = pathOf(id);
  let client;
  let etag;
  const errorBox = createErrorBox();
  const title = heading('Client');
  const back = element('p', { class: 'back-link' }, element('a', { href: '#clients' }, '‹ All clients'));
  const body = element('div', { class: 'columns' });
  place.append(back, title, errorBox, body);

  async function load() {
    const answer = await session.send('GET', path);
    [client, etag] = [answer.content, answer.etag];
    show();
  }

  function show() {
    const name = element('h1', { tabindex: '-1' }, chosen(client.name), ' ', status(client));
    const focused = document.activeElement.closest?.('.heading') === title && document.activeElement.tagName;
    const possible = actions();
    title.replaceChildren(name, element('div', { class: 'actions' }, possible.length > 0 ? possible : pill('read-only', 'quiet')));
    // The element with the focus was replaced: focus the name, or the button in its place.
    if (focused) (focused === 'H1' ? name : title.querySelector('.actions button') ?? name).focus({ preventScroll: true });
    const credentials = element(
      'div',
      { class: 'stack' },
      session.may('read', 'clients') && secretsPart(session, client, path),
      session.may('read', 'tokens') && tokensPart(session, client),
    );
    body.replaceChildren(fieldsPart(), credentials);
  }

  /** The buttons of what the session may do with this client. */
  function actions() {
    const toggle = client.enabled
      ? button('Disable…', () =>
          confirmDialog({
            title: `Disable ${client.name}?`,
            about: [`The client ${client.client_id} gets no new tokens, and its tokens are inactive, until you enable it again.`],
            action: 'Disable client',
            work: () => change({ enabled: false }, 'Client disabled'),
          }),
        )
      : button('Enable', () => attempt(toggle, errorBox, () => change({ enabled: true }, 'Client enabled')));
    const revoke = button('Revoke tokens…', () =>
      confirmDialog({
        title: `Revoke all tokens of ${client.name}?`,
        about: [
          `All tokens issued to the client ${client.client_id} until now become inactive. It may request new ones immediately.`,
          'This cannot be undone.',
        ],
        action: 'Revoke tokens',
        work: async () => {
          await session.send('POST', `${path}/revoke-tokens`);
          notify('Tokens revoked');
          show();
        },
      }),
    );
    const remove = button(
      'Delete…',
      () =>
        confirmDialog({
          title: `Delete ${client.name}?`,
          about: [`The client ${client.client_id} and its secrets are deleted, and its tokens become inactive.`, 'This cannot be undone.'],
          action: 'Delete client',
          work: async () => {
            await session.send('DELETE', path, undefined, etag ? { 'If-Match': etag } : {});
            notify('Client deleted');
            return () => (location.hash = '#clients');
          },
        }),
      'danger-quiet',
    );
    const may = mayChange(session, client);
    return [may && toggle, session.may('tokens') && revoke, may && remove].filter(Boolean);
  }

  async function change(wanted, done) {
    const answer = await session.send('PATCH', path, wanted, etag ? { 'If-Match': etag } : {});
    [client, etag] = [answer.content, answer.etag];
    notify(done);
    show();
  }

  function fieldsPart() {
    const why = createErrorBox();
    const save = element('button', { type: 'submit', class: 'primary' }, 'Save');
    const reset = button('Reset', () => fill(form, client));
    const latest = button('Load latest', () => attempt(latest, why, load));
    latest.hidden = true;
    const send = async (event) => {
      event.preventDefault();
      await attempt(save, why, async () => {
        const wanted = members(form, client);
        if (Object.keys(wanted).length === 0) return notify('No changes to save');
        latest.hidden = true;
        try {
          await change(wanted, 'Client updated');
        } catch (error) {
          if (error.status !== 412) throw error;
          latest.hidden = false;
          throw new Error('Someone else updated this client in the meantime. Your changes were not saved.');
        }
      });
    };
    const form = element('form', { submit: send, autocomplete: 'off' }, template('client-fields'), why);
    form.querySelector('.only-new').remove();
    fill(form, client);
    if (mayChange(session, client)) form.append(element('div', { class: 'actions' }, latest, reset, save));
    else for (const field of form.elements) field.disabled = true;
    if (session.may('clients') && !session.holds(client.scope)) {
      form.append(element('p', { class: 'hint' }, 'Read-only: this client has scopes that you do not hold.'));
    }
    const code = mono(client.client_id);
    const about = element(
      'dl',
      { class: 'facts' },
      element('div', { class: 'wide' }, element('dt', {}, 'Id'), element('dd', { class: 'with-copy' }, code, ' ', copyButton(client.client_id, 'Client id', code))),
      element('div', {}, element('dt', {}, 'Created'), element('dd', {}, moment(client.created_at))),
      element('div', {}, element('dt', {}, 'Updated'), element('dd', {}, moment(client.updated_at))),
    );
    return element('section', { class: 'card part' }, element('h2', {}, 'Details'), about, form);
  }

  loadFirst(element('button'), errorBox, body, load);
}

/** A new secret, or an enabled client, is worth the scope of the client: only an operator that holds it may give it. */
function mayChange(session, client) {
  return session.may('clients') && session.holds(client.scope);
}

function secretsPart(session, client, path) {
  const may = mayChange(session, client);
  const errorBox = createErrorBox();
  const rows = element('div', { class: 'rows' });
  const add = button('Add secret…', () =>
    formDialog({
      title: 'Add secret',
      about: 'The secret is valid immediately. To rotate: let the other secrets expire later, deploy the new one, and watch “Last used” until the old one is no longer used.',
      content: template('secret-fields'),
      action: 'Add secret',
      work: async (form) => {
        const values = fields(form);
        const wanted = {};
        if (values.expires !== '') wanted.expires_in_seconds = Number(values.expires) * DAY;
        if (values.others !== '') wanted.others_expire_in_seconds = Number(values.others) * DAY;
        const { content } = await session.send('POST', `${path}/secrets`, wanted);
        await load();
        return () => secretDialog({ title: 'Secret added', clientId: client.client_id, secret: content.client_secret });
      },
    }),
  );

  async function load() {
    const { items } = await session.get(`${path}/secrets`);
    const columns = ['Secret', 'Created', 'Expires', 'Last used', ...(may ? [''] : [])];
    rows.replaceChildren(table('Secrets', columns, items.map((secret) => row(secret, items.length)), 'No secrets yet. The client cannot authenticate.'));
  }

  function row(secret, count) {
    const expired = secret.expires_at && new Date(secret.expires_at) <= Date.now();
    const cells = [
      mono(secret.secret_id),
      moment(secret.created_at),
      expired ? pill('expired', 'quiet') : moment(secret.expires_at, 'no expiry'),
      moment(secret.last_used_at),
    ];
    if (!may) return cells;
    const revoke = button(
      'Revoke…',
      () =>
        confirmDialog({
          title: `Revoke secret ${secret.secret_id}?`,
          about: [
            `${secret.last_used_at ? `Last used ${relative(secret.last_used_at)}` : 'Never used'}. The client can no longer authenticate with this secret.`,
            ...(count === 1 ? ['It is the only secret: the client cannot authenticate until you add another one.'] : []),
            'This cannot be undone.',
          ],
          action: 'Revoke secret',
          work: async () => {
            await session.send('DELETE', `${path}/secrets/${encodeURIComponent(secret.secret_id)}`);
            notify('Secret revoked');
            await load();
          },
        }),
      'danger-quiet small',
    );
    revoke.setAttribute('aria-label', `Revoke secret ${secret.secret_id}`);
    return [...cells, revoke];
  }

  loadFirst(add, errorBox, rows, load);
  return element(
    'section',
    { class: 'card part' },
    element('div', { class: 'heading' }, element('h2', {}, 'Secrets'), may && add),
    errorBox,
    rows,
  );
}
