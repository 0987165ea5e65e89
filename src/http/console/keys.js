// Signing keys: their status, when they activate and retire, and rotation.

import {
  button, clockTime, createErrorBox, element, fields, heading, loadFirst, moment, mono, notify, pill, relative, table,
  template,
} from './elements.js';
import { formDialog } from './dialogs.js';

const KINDS = { active: 'ok', next: 'warn', retired: 'quiet', rejected: 'bad' };

export function keys(place, { session }) {
  const errorBox = createErrorBox();
  const news = element('div', { class: 'news', role: 'status' });
  const rows = element('div', { class: 'card flush' });
  const rotate = button(
    'Rotate keys…',
    () =>
      formDialog({
        title: 'Rotate signing keys',
        about: 'A new key is published immediately. It activates once verifiers with a cached key set have fetched it. The old key stays published until its last token has expired.',
        content: template('key-fields'),
        action: 'Rotate keys',
        work: async (form) => {
          const values = fields(form);
          const wanted = { immediately: values.immediately === 'on' };
          if (values.alg) wanted.alg = values.alg;
          const { content } = await session.send('POST', '/admin/keys/rotate', wanted);
          news.replaceChildren(...activations(content.items).map((words) => element('p', {}, words)));
          notify('New keys published');
          await load();
        },
      }),
    'primary',
  );
  place.append(heading('Signing keys', session.may('keys') && rotate), errorBox, news, rows);

  async function load() {
    const { items } = await session.get('/admin/keys');
    const columns = ['Algorithm', 'Status', 'Key id', 'Activates', 'Retires', 'At rest'];
    rows.replaceChildren(table('Signing keys', columns, items.toSorted(newestFirst).map(row), 'No signing keys yet.'));
  }

  loadFirst(rotate, errorBox, rows, load);
}

/** When new keys activate, one sentence per activation time. */
function activations(keys) {
  const byMoment = Map.groupBy(keys, (key) => clockTime(key.activates_at));
  return [...byMoment].map(([moment, together]) => {
    const [{ activates_at: at }] = together;
    const names = new Intl.ListFormat('en').format(together.map((key) => key.alg));
    const one = together.length === 1;
    if (new Date(at) <= Date.now() + 1000) return `The new ${names} ${one ? 'key is' : 'keys are'} active.`;
    return `The new ${names} ${one ? 'key activates' : 'keys activate'} ${relative(at)}, at ${moment}.`;
  });
}

/** By activation, latest first; then by algorithm. */
function newestFirst(one, other) {
  return other.activates_at.slice(0, 19).localeCompare(one.activates_at.slice(0, 19)) || one.alg.localeCompare(other.alg);
}

function row(key) {
  return [
    key.alg,
    pill(key.state, KINDS[key.state] ?? 'quiet'),
    mono(key.kid),
    moment(key.activates_at),
    moment(key.retires_at, 'after the next rotation'),
    key.encrypted ? 'encrypted' : 'not encrypted',
  ];
}
