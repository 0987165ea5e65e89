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
          news.replaceChildren(...content.items.map((key) => element('p', {}, takesEffect(key))));
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
    rows.replaceChildren(table('Signing keys', columns, items.toReversed().map(row), 'There is no key yet.'));
  }

  attempt(rotate, refusal, load);
}

function takesEffect(key) {
  const at = new Date(key.activates_at);
  if (at <= Date.now() + 1000) return `The new ${key.alg} key signs already.`;
  return `The new ${key.alg} key signs ${relative(key.activates_at)}, from ${clockTime(key.activates_at)} on.`;
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
