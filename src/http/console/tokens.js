// The records of a client's tokens, the newest first, and a way to take one back.

import { attempt, button, element, mono, pill, refusalLine, say, stacked, table } from './elements.js';
import { confirmDialog } from './dialogs.js';

const PAGE = 10;

export function tokensPart(session, client) {
  let known = [];
  let cursor = null;
  const refusal = refusalLine();
  const rows = element('div', { class: 'rows' });
  const more = button('Look further', () => attempt(more, refusal, load));
  more.hidden = true;
  const again = button('Look again', () =>
    attempt(again, refusal, () => {
      [known, cursor] = [[], null];
      return load();
    }),
  );

  async function load() {
    const query = new URLSearchParams({ client_id: client.client_id, limit: PAGE });
    if (cursor) query.set('cursor', cursor);
    const page = await session.get(`/admin/tokens?${query}`);
    known.push(...page.items);
    cursor = page.next_cursor;
    more.hidden = cursor === null;
    show();
  }

  function show() {
    const columns = ['Issued', 'Expires', 'Scope', 'State', ...(session.mayWrite ? [''] : [])];
    // A page is of the records of all clients that were looked through, so it may have none of this one.
    const nothing = cursor ? 'None among the newest records of all clients.' : 'None is recorded.';
    rows.replaceChildren(table('Tokens', columns, known.map(row), nothing));
  }

  function row(token) {
    const scope = mono(token.one_time ? `${token.scope} (one time)` : token.scope);
    const cells = [stacked(token.issued_at), stacked(token.expires_at), scope, state(token, client)];
    if (!session.mayWrite) return cells;
    const revoke = button(
      'Revoke…',
      () =>
        confirmDialog({
          title: 'Revoke this token?',
          about: [`Token ${token.jti} is inactive from now on, for good.`],
          action: 'Revoke token',
          work: async () => {
            await session.send('DELETE', `/admin/tokens/${encodeURIComponent(token.jti)}`);
            token.revoked = true;
            say('The token is revoked');
            show();
          },
        }),
      'danger-quiet small',
    );
    revoke.setAttribute('aria-label', `Revoke token ${token.jti}`);
    return [...cells, token.revoked === false ? revoke : ''];
  }

  attempt(more, refusal, load);
  const title = element('div', { class: 'heading' }, element('h2', {}, 'Tokens'), again);
  const about = element('p', { class: 'hint' }, 'The newest first. A record is there a moment after its token.');
  return element('section', { class: 'card part' }, title, about, refusal, rows, more);
}

/** Expired is `null` for the server: what was revoked before is forgotten then. */
function state(token, client) {
  if (token.revoked === null) return pill('expired', 'quiet');
  if (token.revoked) return pill('revoked', 'bad');
  return client.enabled ? pill('active', 'ok') : pill('inactive', 'warn');
}
