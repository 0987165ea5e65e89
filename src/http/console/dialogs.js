// Dialogs: forms, confirmations, and the one that shows a secret once.

import { attempt, button, copyButton, createErrorBox, element } from './elements.js';

let count = 0;

/** Shows a modal dialog; the browser keeps the focus in it and restores it afterwards. */
function open(title, content, { mayEscape = true } = {}) {
  const id = `dialog-${(count += 1)}`;
  const opener = document.activeElement;
  const part = opener.closest('section');
  const dialog = element('dialog', { 'aria-labelledby': id }, element('h2', { id }, title), content);
  document.getElementById('dialogs').append(dialog);
  dialog.addEventListener('cancel', (event) => mayEscape || event.preventDefault());
  // Chromium closes a dialog on the second Escape even if `cancel` was prevented.
  dialog.addEventListener('keydown', (event) => mayEscape || event.key !== 'Escape' || event.preventDefault());
  dialog.addEventListener('close', () => {
    dialog.remove();
    // The browser restores the focus to the pressed button, which the action may have removed.
    if (!opener.isConnected) (part?.querySelector('button') ?? document.querySelector('#main h1'))?.focus();
  });
  dialog.showModal();
  return dialog;
}

/** A form; submitting it runs `work`, and the dialog stays open until that succeeds. */
export function formDialog({ title, about, content, action, work }) {
  const errorBox = createErrorBox();
  const submit = element('button', { type: 'submit', class: 'primary' }, action);
  const send = async (event) => {
    event.preventDefault();
    let then;
    if (await attempt(submit, errorBox, async () => (then = await work(form)))) {
      dialog.close();
      then?.();
    }
  };
  const cancel = button('Cancel', () => dialog.close());
  const form = element(
    'form',
    { submit: send, autocomplete: 'off' },
    about && element('p', { class: 'soft' }, about),
    content,
    errorBox,
    element('div', { class: 'actions' }, cancel, submit),
  );
  const dialog = open(title, form);
}

/** Asks for confirmation. Cancel has the focus. */
export function confirmDialog({ title, about, action, work, danger = true }) {
  const errorBox = createErrorBox();
  const cancel = element('button', { type: 'button', autofocus: true, click: () => dialog.close() }, 'Cancel');
  const confirm = button(
    action,
    async () => {
      let then;
      if (await attempt(confirm, errorBox, async () => (then = await work()))) {
        dialog.close();
        then?.();
      }
    },
    danger ? 'danger' : 'primary',
  );
  const content = element('div', {}, about.map((text) => element('p', {}, text)), errorBox, element('div', { class: 'actions' }, cancel, confirm));
  const dialog = open(title, content);
}

/** Shows a secret once. Only its button closes the dialog: Escape is easily pressed by mistake. */
export function secretDialog({ title, clientId, secret, then }) {
  const shown = (label, text, name) => {
    const code = element('code', { class: 'secret', tabindex: '0', 'aria-label': label, 'data-shown': name }, text);
    return element('div', { class: 'shown' }, element('span', { class: 'label' }, label), code, copyButton(text, label, code));
  };
  const done = button('I have stored it', () => dialog.close(), 'primary');
  const content = element(
    'div',
    {},
    element('p', {}, 'The server stores only a hash. The secret is not shown again.'),
    shown('Client id', clientId, 'client_id'),
    shown('Client secret', secret, 'client_secret'),
    element('div', { class: 'actions' }, done),
  );
  const dialog = open(title, content, { mayEscape: false });
  dialog.addEventListener('close', () => then?.());
}

/** Closes all dialogs without confirmation. */
export function closeDialogs() {
  document.getElementById('dialogs').replaceChildren();
}
