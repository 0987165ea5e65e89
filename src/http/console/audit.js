// The audit trail: who changed what, when and from where, the newest first.

import { attempt, button, chosen, element, heading, mono, refusalLine, stacked, table } from './elements.js';

export function audit(place, { session }) {
  const known = [];
  let cursor = null;
  const refusal = refusalLine();
  const rows = element('div', { class: 'card flush' });
  const more = button('Show more', () => attempt(more, refusal, load));
  more.hidden = true;
  place.append(heading('Audit trail'), refusal, rows, more);

  async function load() {
    const page = await session.get(`/admin/audit?limit=50${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''}`);
    known.push(...page.items);
    cursor = page.next_cursor;
    more.hidden = cursor === null;
    rows.replaceChildren(table('Changes', ['When', 'Who', 'What', 'To what', 'Detail'], known.map(row), 'Nothing was changed yet.'));
  }

  attempt(more, refusal, load);
}

function row(line) {
  return [
    stacked(line.at),
    element('span', { class: 'two' }, chosen(line.who), element('small', { class: 'soft' }, line.origin)),
    element('span', { class: 'word' }, line.action.replace('.', ' ').replaceAll('_', ' ')),
    mono(line.subject),
    detail(line.detail),
  ];
}

/** What is as long as this is shown when it is asked for. */
const LONG = 90;

/** Members with their values, or with what they were before and are after. */
function detail(members) {
  const known = Object.entries(members ?? {}).filter(([name]) => name !== 'updated_at');
  if (known.length === 0) return element('span', { class: 'soft' }, '–');
  const words = known.map(([name, value]) => {
    const changed = value !== null && typeof value === 'object' && 'after' in value;
    return [name, changed ? `${plain(value.before)} → ${plain(value.after)}` : plain(value)];
  });
  const list = element('ul', {}, words.map(([name, text]) => element('li', {}, element('span', { class: 'soft' }, `${name} `), mono(text))));
  if (words.flat().join(' ').length < LONG) return list;
  return element('details', {}, element('summary', {}, known.map(([name]) => name).join(', ')), list);
}

function plain(value) {
  if (value === null || value === undefined || value === '') return '–';
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}
