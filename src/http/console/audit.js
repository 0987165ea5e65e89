// The audit log: time, actor, action and target of every event, newest first.

import { attempt, button, chosen, createErrorBox, element, heading, loadFirst, mono, stacked, table } from './elements.js';

export function audit(place, { session }) {
  const known = [];
  let cursor = null;
  const errorBox = createErrorBox();
  const rows = element('div', { class: 'card flush' });
  const more = button('Load more', () => attempt(more, errorBox, load));
  more.hidden = true;
  place.append(heading('Audit log'), errorBox, rows, more);

  async function load() {
    const page = await session.get(`/admin/audit?limit=50${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''}`);
    known.push(...page.items);
    cursor = page.next_cursor;
    more.hidden = cursor === null;
    rows.replaceChildren(table('Audit log', ['Time', 'Actor', 'Action', 'Target', 'Details'], known.map(row), 'No events yet.'));
  }

  loadFirst(more, errorBox, rows, load);
}

function row(line) {
  return [
    stacked(line.at),
    element('span', { class: 'two' }, chosen(line.actor || '–'), element('small', { class: 'soft' }, `${line.actor_kind}, ${line.source}`)),
    element('span', { class: 'word' }, line.action.replace('.', ' ').replaceAll('_', ' ')),
    mono(line.subject),
    details(line.detail),
  ];
}

/** Details with more characters are folded. */
const MAX_UNFOLDED = 90;

/** Members with their values, or with their values before and after. */
function details(members) {
  const known = Object.entries(members ?? {}).filter(([name]) => name !== 'updated_at');
  if (known.length === 0) return element('span', { class: 'soft' }, '–');
  const words = known.map(([name, value]) => {
    const changed = value !== null && typeof value === 'object' && 'after' in value;
    return [name, changed ? `${plain(value.before)} → ${plain(value.after)}` : plain(value)];
  });
  const list = element('ul', {}, words.map(([name, text]) => element('li', {}, element('span', { class: 'soft' }, `${name} `), mono(text))));
  if (words.flat().join(' ').length < MAX_UNFOLDED) return list;
  return element('details', {}, element('summary', {}, known.map(([name]) => name).join(', ')), list);
}

function plain(value) {
  if (value === null || value === undefined || value === '') return '–';
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}
