// Signing keys: which one signs, which one waits, and when a new one takes over.

import { attempt, button, element, fields, heading, moment, mono, pill, refusalLine, relative, clockTime, say, table, template } from './elements.js';
import { formDialog } from './dialogs.js';

const KINDS = { active: 'ok', next: 'warn', retired: 'quiet' };

export function keys(place, { session }) {
  const refusal = refusalLine();
  const news = element('div', { class: 'news', role: 'status' });
  const rows = element('div', { class: 'card flush' });
  const rotate = button(
    'Rotate…',
    () =>
      formDialog({
        title: 'Rotate the signing keys',
        about: 'A new key is published at once and signs when everybody who keeps the key set has it; the old one stays until its last token has expired.',
        content: template('key-fields'),
        action: 'Rotate',
        work: async (form) => {
          const said = fields(form);
          const wanted = { immediately: said.immediately === 'on' };
          if (said.alg) wanted.alg = said.alg;
          const { content } = await session.send('POST', '/admin/keys/rotate', wanted);
          news.replaceChildren(...takesEffect(content.items).map((words) => element('p', {}, words)));
          say('New keys are published');
          await load();
        },
      }),
    'primary',
  );
  place.append(heading('Signing keys', session.mayWrite && rotate), refusal, news, rows);

  async function load() {
    const { items } = await session.get('/admin/keys');
    const columns = ['Algorithm', 'State', 'Key id', 'Signs from', 'Gone from', 'At rest'];
    rows.replaceChildren(table('Signing keys', columns, items.toSorted(newestFirst).map(row), 'There is no key yet.'));
  }

  attempt(rotate, refusal, load);
}

/** When new keys take over, in a sentence for each moment. */
function takesEffect(keys) {
  const byMoment = Map.groupBy(keys, (key) => clockTime(key.activates_at));
  return [...byMoment].map(([moment, together]) => {
    const [{ activates_at: at }] = together;
    const names = new Intl.ListFormat('en').format(together.map((key) => key.alg));
    const [what, sign] = together.length === 1 ? ['key', 'signs'] : ['keys', 'sign'];
    if (new Date(at) <= Date.now() + 1000) return `The new ${names} ${what} ${sign} already.`;
    return `The new ${names} ${what} ${sign} ${relative(at)}, from ${moment} on.`;
  });
}

/** What is to come first, then the newest; the algorithms of a moment by their names. */
function newestFirst(one, other) {
  return other.activates_at.slice(0, 19).localeCompare(one.activates_at.slice(0, 19)) || one.alg.localeCompare(other.alg);
}

function row(key) {
  return [
    key.alg,
    pill(key.state, KINDS[key.state] ?? 'quiet'),
    mono(key.kid),
    moment(key.activates_at),
    moment(key.retires_at, 'not before another takes over'),
    key.encrypted ? 'encrypted' : 'in the clear',
  ];
}
