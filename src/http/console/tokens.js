// The token records of a client, newest first, and the revocation of one.

import { attempt, button, createErrorBox, element, loadFirst, mono, notify, pill, stacked, table } from './elements.js';
import { confirmDialog } from './dialogs.js';

const PAGE_SIZE = 10;

export function tokensPart(session, client) {
  let known = [];
  let cursor = null;
  const errorBox = createErrorBox();
  const rows = element('div', { class: 'rows' });
  const more = button('Load more', () => attempt(more, errorBox, load));
  more.hidden = true;
  const refresh = button('Refresh', () =>
    attempt(refresh, errorBox, () => {
      [known, cursor] = [[], null];
      return load();
    }),
  );

  async function load() {
    const query = new URLSearchParams({ client_id: client.client_id, limit: PAGE_SIZE });
    if (cursor) query.set('cursor', cursor);
    const page = await session.get(`/admin/tokens?${query}`);
    known.push(...page.items);
    cursor = page.next_cursor;
    more.hidden = cursor === null;
    show();
  }

  function show() {
    const columns = ['Issued', 'Expires', 'Scope', 'From', 'Status', ...(session.may('tokens') ? [''] : [])];
    // A page covers records of all clients, so it may have none of this client.
    const nothing = cursor ? 'No tokens of this client among the newest records.' : 'No tokens yet.';
    rows.replaceChildren(table('Tokens', columns, known.map(row), nothing));
  }

  function row(token) {
    const scope = mono(token.one_time ? `${token.scope} (one-time)` : token.scope);
    const cells = [stacked(token.issued_at), stacked(token.expires_at), scope, origin(token), status(token, client)];
    if (!session.may('tokens')) return cells;
    const revoke = button(
      'Revoke…',
      () =>
        confirmDialog({
          title: 'Revoke token?',
          about: [`The token ${token.jti} becomes inactive immediately.`, 'This cannot be undone.'],
          action: 'Revoke token',
          work: async () => {
            await session.send('DELETE', `/admin/tokens/${encodeURIComponent(token.jti)}`);
            token.revoked = true;
            notify('Token revoked');
            show();
          },
        }),
      'danger-quiet small',
    );
    revoke.setAttribute('aria-label', `Revoke token ${token.jti}`);
    return [...cells, token.revoked === false ? revoke : ''];
  }

  loadFirst(more, errorBox, rows, load);
  const title = element('div', { class: 'heading' }, element('h2', {}, 'Tokens'), refresh);
  const about = element('p', { class: 'hint' }, 'Newest first. A record appears shortly after its token is issued.');
  return element('section', { class: 'card part' }, title, about, errorBox, rows, more);
}

/** The client IP, and the secret that the client proved itself with. Unknown in records of an earlier version. */
function origin(token) {
  const address = mono(token.client_ip ?? 'unknown');
  if (token.secret_id === null) return address;
  return element('span', { class: 'two' }, address, element('small', { class: 'soft' }, `secret ${token.secret_id}`));
}

/** `revoked` is `null` once a token has expired: the server no longer knows whether it was revoked. */
function status(token, client) {
  if (token.revoked === null) return pill('expired', 'quiet');
  if (token.revoked) return pill('revoked', 'bad');
  return client.enabled ? pill('active', 'ok') : pill('inactive', 'warn');
}
