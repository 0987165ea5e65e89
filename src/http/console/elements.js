// Elements of the page. Texts become text nodes, so no text of the server is ever parsed as markup.

/** An element: its properties (functions are listeners), then its children, elements or texts. */
export function element(name, properties = {}, ...children) {
  const created = document.createElement(name);
  for (const [property, value] of Object.entries(properties)) {
    if (typeof value === 'function') created.addEventListener(property, value);
    else if (value === true) created.setAttribute(property, '');
    else if (value !== false && value !== null && value !== undefined) created.setAttribute(property, value);
  }
  created.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return created;
}

/** A copy of a template's content. */
export function template(id) {
  return document.getElementById(id).content.cloneNode(true);
}

/** A text chosen by a user, isolated from the direction of the surrounding text. */
export function chosen(text, className = '') {
  return element('bdi', { class: className || null }, text);
}

export function mono(text) {
  return chosen(text, 'mono');
}

export function button(text, click, className = '') {
  return element('button', { type: 'button', class: className || null, click }, text);
}

/** A status; `kind` is ok, warn, bad or quiet. */
export function pill(text, kind) {
  return element('span', { class: `pill ${kind}` }, text);
}

/** The heading of a section, with its actions. */
export function heading(text, ...actions) {
  return element('div', { class: 'heading' }, element('h1', { tabindex: '-1' }, text), element('div', { class: 'actions' }, actions));
}

/**
 * A table; on a phone each row is a card whose cells name their column. The roles are explicit because
 * a table with another `display` is no table for a screen reader.
 */
export function table(caption, columns, rows, nothing) {
  const head = columns.map((column) => element('th', { scope: 'col', role: 'columnheader' }, column));
  const body = rows.map((cells) =>
    element('tr', { role: 'row' }, cells.map((cell, at) => element('td', { role: 'cell', 'data-column': columns[at] }, cell))),
  );
  if (rows.length === 0) return element('p', { class: 'nothing' }, nothing);
  return element(
    'table',
    { role: 'table' },
    element('caption', { class: 'unseen' }, caption),
    element('thead', { role: 'rowgroup' }, element('tr', { role: 'row' }, head)),
    element('tbody', { role: 'rowgroup' }, body),
  );
}

/** Copies a text; where the browser does not allow it (a page without TLS), selects the text instead. */
export function copyButton(text, what, source) {
  const copy = button('Copy', async () => {
    try {
      await navigator.clipboard.writeText(text);
      copy.textContent = 'Copied';
      notify(`${what} copied`);
    } catch {
      getSelection().selectAllChildren(source);
      copy.textContent = 'Selected';
      notify(`${what} selected: copy it with the keyboard`);
    }
    setTimeout(() => (copy.textContent = 'Copy'), 3000);
  });
  copy.setAttribute('aria-label', `Copy ${what.toLowerCase()}`);
  return copy;
}

let timer;

/** Shows that an action is done, for a few seconds, and tells screen readers. */
export function notify(text) {
  const toast = document.getElementById('toast');
  toast.textContent = text;
  clearTimeout(timer);
  timer = setTimeout(() => (toast.textContent = ''), 5000);
}

/** A paragraph for the cause of a failure; hidden while it is empty. */
export function createErrorBox() {
  return element('p', { class: 'error', role: 'alert' });
}

/**
 * Runs the action of a button, which ignores further presses meanwhile. Resolves to whether the action succeeded. The button
 * is not `disabled`, because it would lose the focus.
 */
export async function attempt(button, errorBox, work) {
  if (button.ariaDisabled === 'true') return false;
  button.ariaDisabled = 'true';
  errorBox.textContent = '';
  try {
    await work();
    return true;
  } catch (error) {
    errorBox.textContent = error.message;
    return false;
  } finally {
    button.ariaDisabled = null;
  }
}

/** Loads a list for the first time: `rows` says so meanwhile, and `errorBox` says why it failed. */
export async function loadFirst(button, errorBox, rows, load) {
  const text = (words) => rows.replaceChildren(element('p', { class: 'nothing' }, words));
  text('Loading…');
  if (!(await attempt(button, errorBox, load))) text('Loading failed.');
}

/** The fields of a form by name, trimmed. */
export function fields(form) {
  const texts = {};
  for (const [name, value] of new FormData(form)) texts[name] = value.trim();
  return texts;
}

/** The lines of a text that are not empty. */
export function lines(text) {
  return text.split('\n').map((line) => line.trim()).filter(Boolean);
}

/** A time: relative, with the date beside it. */
export function moment(text, never = 'never') {
  if (!text) return element('span', { class: 'soft word' }, never);
  return element('time', { datetime: text, title: clockTime(text) }, relative(text), ' ', element('small', { class: 'soft' }, clockTime(text)));
}

/** The same in two lines, for a table column. */
export function stacked(text) {
  return element('time', { datetime: text, class: 'two' }, relative(text), element('small', { class: 'soft when' }, clockTime(text)));
}

/** 2026-11-24 13:20:05, in the time zone of the browser. */
export function clockTime(text) {
  const at = new Date(text);
  const two = (part) => String(part).padStart(2, '0');
  const date = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${date} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

export function relative(text) {
  const seconds = (new Date(text) - Date.now()) / 1000;
  const span = duration(Math.abs(seconds));
  return seconds < 0 ? `${span} ago` : `in ${span}`;
}

/** One whole unit. Half a minute less than an hour is an hour. */
export function duration(seconds) {
  for (const [unit, length] of [['d', 86400], ['h', 3600], ['min', 60]]) {
    if (seconds + 30 >= (unit === 'd' ? 2 : 1) * length) return `${Math.round(seconds / length)} ${unit}`;
  }
  return `${Math.floor(seconds)} s`;
}

/** A lifetime as it was configured, in the largest unit that is exact. */
export function lifetime(seconds) {
  for (const [unit, length] of [['d', 86400], ['h', 3600], ['min', 60]]) {
    if (seconds >= length && seconds % length === 0) return `${seconds / length} ${unit}`;
  }
  return `${seconds} s`;
}
