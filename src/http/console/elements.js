// What pages are made of. Texts become text nodes, so nothing that a server says is ever read as markup.

/** An element: its properties (functions are listeners), then its children, elements or texts. */
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [property, value] of Object.entries(properties)) {
    if (typeof value === 'function') made.addEventListener(property, value);
    else if (value === true) made.setAttribute(property, '');
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(property, value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** A copy of a template's content. */
export function template(id) {
  return document.getElementById(id).content.cloneNode(true);
}

/** A text that somebody chose, kept apart from the direction of the text around it. */
export function chosen(text, className = '') {
  return element('bdi', { class: className || null }, text);
}

export function mono(text) {
  return chosen(text, 'mono');
}

export function button(text, click, className = '') {
  return element('button', { type: 'button', class: className || null, click }, text);
}

/** A word about a state; `kind` is ok, warn, bad or quiet. */
export function pill(text, kind) {
  return element('span', { class: `pill ${kind}` }, text);
}

/** The heading of a part of the console, with what can be done there. */
export function heading(text, ...actions) {
  return element('div', { class: 'heading' }, element('h1', { tabindex: '-1' }, text), element('div', { class: 'actions' }, actions));
}

/**
 * A table; on a phone each row is a card whose cells name their column. The roles are written down because a table that
 * is shown as something else is none for a screen reader any more.
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

/** Copies a text; where the browser does not let it (a page without TLS), the text is selected to be copied by hand. */
export function copyButton(text, what, source) {
  const copy = button('Copy', async () => {
    try {
      await navigator.clipboard.writeText(text);
      copy.textContent = 'Copied';
      say(`${what} copied`);
    } catch {
      getSelection().selectAllChildren(source);
      copy.textContent = 'Selected';
      say(`${what} selected: copy it with the keyboard`);
    }
    setTimeout(() => (copy.textContent = 'Copy'), 3000);
  });
  copy.setAttribute('aria-label', `Copy ${what.toLowerCase()}`);
  return copy;
}

let silence;

/** Tells what was done: for a few seconds at the edge of the page, and to screen readers. */
export function say(text) {
  const said = document.getElementById('said');
  said.textContent = text;
  clearTimeout(silence);
  silence = setTimeout(() => (said.textContent = ''), 5000);
}

/** A paragraph that says why something was not done, once it has something to say. */
export function refusalLine() {
  return element('p', { class: 'refusal', role: 'alert' });
}

/**
 * Does something that a button asks for; meanwhile the button cannot ask again. `true` if it was done. The button is not
 * made `disabled`: that would take the focus from it.
 */
export async function attempt(button, refusal, work) {
  if (button.ariaDisabled === 'true') return false;
  button.ariaDisabled = 'true';
  refusal.textContent = '';
  try {
    await work();
    return true;
  } catch (error) {
    refusal.textContent = error.message;
    return false;
  } finally {
    button.ariaDisabled = null;
  }
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

/** A moment: how far away it is, with the date and time on the side. */
export function moment(text, never = 'never') {
  if (!text) return element('span', { class: 'soft' }, never);
  return element('time', { datetime: text, title: clockTime(text) }, relative(text), ' ', element('small', { class: 'soft' }, clockTime(text)));
}

/** A moment in two lines, for a column of them. */
export function stacked(text) {
  return element('time', { datetime: text, class: 'two' }, relative(text), element('small', { class: 'soft when' }, clockTime(text)));
}

/** 2026-11-24 13:20:05, on this machine's clock. */
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

/** Whole units, one of them: what people say. Half a minute less than an hour is an hour. */
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
