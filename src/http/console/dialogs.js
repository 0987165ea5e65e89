// Dialogs: forms, questions, and the one that shows a secret once.

import { attempt, button, copyButton, element, refusalLine } from './elements.js';

let count = 0;

/** Shows a dialog until it is closed; the browser keeps the focus in it, and gives it back. */
function open(title, content, { mayEscape = true } = {}) {
  const id = `dialog-${(count += 1)}`;
  const opener = document.activeElement;
  const part = opener.closest('section');
  const dialog = element('dialog', { 'aria-labelledby': id }, element('h2', { id }, title), content);
  document.getElementById('dialogs').append(dialog);
  dialog.addEventListener('cancel', (event) => mayEscape || event.preventDefault());
  // Chromium closes a dialog at the second Escape whatever `cancel` said.
  dialog.addEventListener('keydown', (event) => mayEscape || event.key !== 'Escape' || event.preventDefault());
  dialog.addEventListener('close', () => {
    dialog.remove();
    // The browser gives the focus back to the button that was pressed; that may have gone with what was done.
    if (!opener.isConnected) (part?.querySelector('button') ?? document.querySelector('#main h1'))?.focus();
  });
  dialog.showModal();
  return dialog;
}

/** A form; `work` is done with it when it is sent, and the dialog stays until that has succeeded. */
export function formDialog({ title, about, content, action, work }) {
  const refusal = refusalLine();
  const submit = element('button', { type: 'submit', class: 'primary' }, action);
  const send = async (event) => {
    event.preventDefault();
    let then;
    if (await attempt(submit, refusal, async () => (then = await work(form)))) {
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
    refusal,
    element('div', { class: 'actions' }, cancel, submit),
  );
  const dialog = open(title, form);
}

/** A question before something that cannot be taken back. Cancel has the focus. */
export function confirmDialog({ title, about, action, work, danger = true }) {
  const refusal = refusalLine();
  const cancel = element('button', { type: 'button', autofocus: true, click: () => dialog.close() }, 'Cancel');
  const yes = button(
    action,
    async () => {
      let then;
      if (await attempt(yes, refusal, async () => (then = await work()))) {
        dialog.close();
        then?.();
      }
    },
    danger ? 'danger' : 'primary',
  );
  const content = element('div', {}, about.map((text) => element('p', {}, text)), refusal, element('div', { class: 'actions' }, cancel, yes));
  const dialog = open(title, content);
}

/** A secret, once. It goes with the dialog, which only its button closes: Escape is pressed by mistake. */
export function secretDialog({ title, clientId, secret, then }) {
  const shown = (label, text, name) => {
    const code = element('code', { class: 'secret', tabindex: '0', 'aria-label': label, 'data-shown': name }, text);
    return element('div', { class: 'shown' }, element('span', { class: 'label' }, label), code, copyButton(text, label, code));
  };
  const done = button('I have stored it', () => dialog.close(), 'primary');
  const content = element(
    'div',
    {},
    element('p', {}, 'The server keeps a hash only: this is the one time that the secret is shown.'),
    shown('Client id', clientId, 'client_id'),
    shown('Client secret', secret, 'client_secret'),
    element('div', { class: 'actions' }, done),
  );
  const dialog = open(title, content, { mayEscape: false });
  dialog.addEventListener('close', () => then?.());
}

/** Closes what is open, without asking. */
export function closeDialogs() {
  document.getElementById('dialogs').replaceChildren();
}
