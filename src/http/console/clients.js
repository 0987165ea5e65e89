// Clients: their list; one of them with its secrets; and all that can be done with it.

import {
  attempt, button, chosen, copyButton, element, fields, heading, lifetime, lines, moment, mono, pill, refusalLine, relative, say,
  table, template,
} from './elements.js';
import { confirmDialog, formDialog, secretDialog } from './dialogs.js';
import { tokensPart } from './tokens.js';

const DAY = 86400;

/** The path of a client; an id that a browser would resolve away cannot be asked for. */
function pathOf(id) {
  if (id === '.' || id === '..') throw new Error('A browser cannot ask for this id: use mintage client on the command line.');
  return `/admin/clients/${encodeURIComponent(id)}`;
}

function hashOf(id) {
  return `#clients/${encodeURIComponent(id)}`;
}

function state(client) {
  return client.enabled ? pill('enabled', 'ok') : pill('disabled', 'warn');
}

/** The list, or one client if `id` is given. */
export function clients(place, context, id) {
  return id === undefined ? list(place, context) : one(place, context, id);
}

function list(place, { session }) {
  const known = [];
  let cursor = null;
  const refusal = refusalLine();
  const rows = element('div', { class: 'card flush' });
  const filter = element('input', { type: 'search', 'aria-label': 'Filter by name, id or scope', placeholder: 'Filter', input: show });
  const more = button('Show more', () => attempt(more, refusal, load));
  more.hidden = true;
  const direct = element('p');
  const create = button('New client…', () => createDialog(session), 'primary');
  place.append(heading('Clients', filter, session.mayWrite && create), refusal, rows, direct, more);

  async function load() {
    const page = await session.get(`/admin/clients?limit=200${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''}`);
    known.push(...page.items);
    cursor = page.next_cursor;
    more.hidden = cursor === null;
    show();
  }

  function show() {
    const wanted = filter.value.trim().toLowerCase();
    const matches = ({ name, client_id, scope }) => `${name} ${client_id} ${scope}`.toLowerCase().includes(wanted);
    const shown = known.filter(matches);
    const nothing = known.length === 0 ? 'There is no client yet.' : `None of the ${known.length} clients that are loaded matches.`;
    rows.replaceChildren(table('Clients', ['Client', 'State', 'Scope', 'Tokens', 'Changed'], shown.map(row), nothing));
    // There may be thousands: whoever knows the id need not go through them.
    const id = filter.value.trim();
    const unseen = cursor !== null && id !== '' && !known.some((client) => client.client_id === id);
    direct.replaceChildren(...(unseen ? ['Not among those that are loaded? ', element('a', { href: hashOf(id) }, 'Open the client with the id ', mono(id))] : []));
  }

  function row(client) {
    const link = element('a', { href: hashOf(client.client_id) }, chosen(client.name));
    const scope = client.scope === '' ? element('span', { class: 'soft' }, 'none') : mono(client.scope);
    const kind = [client.alg, client.ttl_seconds && lifetime(client.ttl_seconds)].filter(Boolean).join(', ');
    return [
      element('span', { class: 'two' }, link, mono(client.client_id)),
      state(client),
      scope,
      element('span', { class: kind ? 'word' : 'soft word' }, kind || 'as configured'),
      element('span', { class: 'word' }, relative(client.updated_at)),
    ];
  }

  attempt(more, refusal, load);
}

function createDialog(session) {
  formDialog({
    title: 'New client',
    content: template('client-fields'),
    action: 'Create',
    work: async (form) => {
      const wanted = members(form, null);
      const id = fields(form).client_id;
      if (id) wanted.client_id = id;
      const { content } = await session.send('POST', '/admin/clients', wanted);
      return () =>
        secretDialog({
          title: 'The client is made',
          clientId: content.client_id,
          secret: content.client_secret,
          then: () => (location.hash = hashOf(content.client_id)),
        });
    },
  });
}

/** What a form says of a client; only what differs from `before`, if that is given. */
function members(form, before) {
  const said = fields(form);
  const data = new FormData(form);
  const all = {
    name: said.name,
    scope: said.scope.split(/\s+/).filter(Boolean).join(' '),
    default_scope: said.default_scope === '' ? null : said.default_scope.split(/\s+/).join(' '),
    audiences: lines(said.audiences),
    serves: lines(said.serves),
    auth_methods: data.getAll('auth_methods'),
    ttl_seconds: said.ttl_seconds === '' ? null : Number(said.ttl_seconds),
    alg: said.alg === '' ? null : said.alg,
  };
  if (before === null) return all;
  const shown = { ...before, default_scope: before.default_scope === '' ? null : before.default_scope };
  return Object.fromEntries(Object.entries(all).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(shown[name])));
}

function fill(form, client) {
  const set = (name, value) => (form.elements[name].value = value ?? '');
  for (const name of ['name', 'scope', 'default_scope', 'ttl_seconds', 'alg']) set(name, client[name]);
  set('audiences', client.audiences.join('\n'));
  set('serves', client.serves.join('\n'));
  for (const box of form.elements.auth_methods) box.checked = client.auth_methods.includes(box.value);
}

function one(place, { session }, id) {
  const path = pathOf(id);
  let client;
  let etag;
  const refusal = refusalLine();
  const title = heading('Client');
  const back = element('p', { class: 'back-link' }, element('a', { href: '#clients' }, '‹ All clients'));
  const body = element('div', { class: 'columns' });
  place.append(back, title, refusal, body);

  async function load() {
    const answer = await session.send('GET', path);
    [client, etag] = [answer.content, answer.etag];
    show();
  }

  function show() {
    const name = element('h1', { tabindex: '-1' }, chosen(client.name), ' ', state(client));
    const focused = document.activeElement.closest?.('.heading') === title && document.activeElement.tagName;
    title.replaceChildren(name, element('div', { class: 'actions' }, session.mayWrite ? actions() : pill('read only', 'quiet')));
    // What had the focus is replaced: by the name, or by the button that was pressed.
    if (focused) (focused === 'H1' ? name : title.querySelector('.actions button') ?? name).focus({ preventScroll: true });
    const credentials = element('div', { class: 'stack' }, secretsPart(session, client, path), tokensPart(session, client));
    body.replaceChildren(fieldsPart(), credentials);
  }

  function actions() {
    const toggle = client.enabled
      ? button('Disable…', () =>
          confirmDialog({
            title: `Disable ${client.name}?`,
            about: ['It gets no more tokens, and those that it has are inactive until it is enabled again.'],
            action: 'Disable',
            work: () => change({ enabled: false }, 'The client is disabled'),
          }),
        )
      : button('Enable', () => attempt(toggle, refusal, () => change({ enabled: true }, 'The client is enabled')));
    const revoke = button('Revoke tokens…', () =>
      confirmDialog({
        title: `Revoke all tokens of ${client.name}?`,
        about: ['Everything issued to it until now is inactive, for good. It may get new tokens at once.'],
        action: 'Revoke tokens',
        work: async () => {
          await session.send('POST', `${path}/revoke-tokens`);
          say('Its tokens are revoked');
          show();
        },
      }),
    );
    const remove = button(
      'Delete…',
      () =>
        confirmDialog({
          title: `Delete ${client.name}?`,
          about: [`The client ${client.client_id} and its secrets go away, and its tokens are inactive for good.`, 'This cannot be taken back.'],
          action: 'Delete client',
          work: async () => {
            await session.send('DELETE', path, undefined, etag ? { 'If-Match': etag } : {});
            say('The client is deleted');
            return () => (location.hash = '#clients');
          },
        }),
      'danger-quiet',
    );
    return [toggle, revoke, remove];
  }

  async function change(wanted, done) {
    const answer = await session.send('PATCH', path, wanted, etag ? { 'If-Match': etag } : {});
    [client, etag] = [answer.content, answer.etag];
    say(done);
    show();
  }

  function fieldsPart() {
    const why = refusalLine();
    const save = element('button', { type: 'submit', class: 'primary' }, 'Save');
    const reset = button('Undo', () => fill(form, client));
    const again = button('Show theirs', () => attempt(again, why, load));
    again.hidden = true;
    const send = async (event) => {
      event.preventDefault();
      const wanted = members(form, client);
      if (Object.keys(wanted).length === 0) return say('Nothing is changed');
      again.hidden = true;
      await attempt(save, why, async () => {
        try {
          await change(wanted, 'The client is changed');
        } catch (error) {
          if (error.status !== 412) throw error;
          again.hidden = false;
          throw new Error('Somebody else has changed this client meanwhile; nothing of yours is saved.');
        }
      });
    };
    const form = element('form', { submit: send, autocomplete: 'off' }, template('client-fields'), why);
    form.querySelector('.only-new').remove();
    fill(form, client);
    if (session.mayWrite) form.append(element('div', { class: 'actions' }, again, reset, save));
    else for (const field of form.elements) field.disabled = true;
    const code = mono(client.client_id);
    const about = element(
      'dl',
      { class: 'facts' },
      element('div', { class: 'wide' }, element('dt', {}, 'Id'), element('dd', { class: 'with-copy' }, code, ' ', copyButton(client.client_id, 'Client id', code))),
      element('div', {}, element('dt', {}, 'Made'), element('dd', {}, moment(client.created_at))),
      element('div', {}, element('dt', {}, 'Changed'), element('dd', {}, moment(client.updated_at))),
    );
    return element('section', { class: 'card part' }, element('h2', {}, 'What it is'), about, form);
  }

  attempt(element('button'), refusal, load);
}

function secretsPart(session, client, path) {
  const refusal = refusalLine();
  const rows = element('div', { class: 'rows' });
  const add = button('Add a secret…', () =>
    formDialog({
      title: 'Add a secret',
      about: 'It counts at once. To rotate, let the others end later, roll the new one out, and see in “last used” when the old one is not needed any more.',
      content: template('secret-fields'),
      action: 'Add',
      work: async (form) => {
        const said = fields(form);
        const wanted = {};
        if (said.expires !== '') wanted.expires_in_seconds = Number(said.expires) * DAY;
        if (said.others !== '') wanted.others_expire_in_seconds = Number(said.others) * DAY;
        const { content } = await session.send('POST', `${path}/secrets`, wanted);
        await load();
        return () => secretDialog({ title: 'The secret is made', clientId: client.client_id, secret: content.client_secret });
      },
    }),
  );

  async function load() {
    const { items } = await session.get(`${path}/secrets`);
    const columns = ['Secret', 'Made', 'Ends', 'Last used', ...(session.mayWrite ? [''] : [])];
    rows.replaceChildren(table('Secrets', columns, items.map((secret) => row(secret, items.length)), 'It has no secret, so it cannot sign in.'));
  }

  function row(secret, count) {
    const over = secret.expires_at && new Date(secret.expires_at) <= Date.now();
    const cells = [
      mono(secret.secret_id),
      moment(secret.created_at),
      over ? pill('expired', 'quiet') : moment(secret.expires_at, 'when it is revoked'),
      moment(secret.last_used_at),
    ];
    if (!session.mayWrite) return cells;
    const revoke = button(
      'Revoke…',
      () =>
        confirmDialog({
          title: 'Revoke this secret?',
          about: [
            `Secret ${secret.secret_id}: last used ${secret.last_used_at ? relative(secret.last_used_at) : 'never'}. Whoever still has it gets no more tokens.`,
            ...(count === 1 ? ['It is the only one: the client cannot sign in until another is added.'] : []),
          ],
          action: 'Revoke secret',
          work: async () => {
            await session.send('DELETE', `${path}/secrets/${encodeURIComponent(secret.secret_id)}`);
            say('The secret is revoked');
            await load();
          },
        }),
      'danger-quiet small',
    );
    revoke.setAttribute('aria-label', `Revoke secret ${secret.secret_id}`);
    return [...cells, revoke];
  }

  attempt(add, refusal, load);
  return element(
    'section',
    { class: 'card part' },
    element('div', { class: 'heading' }, element('h2', {}, 'Secrets'), session.mayWrite && add),
    refusal,
    rows,
  );
}
