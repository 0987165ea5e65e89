// The console: who is signed in decides what is shown; the part after # says which part of it.

import { audit } from './audit.js';
import { clients } from './clients.js';
import { closeDialogs } from './dialogs.js';
import { attempt, element, refusalLine, say } from './elements.js';
import { keys } from './keys.js';
import { overview } from './overview.js';
import { routes } from './policy.js';
import { Session } from './session.js';
import { Watch } from './watch.js';

const PARTS = { overview, clients, keys, routes, audit };
const NAMES = { overview: 'Overview', clients: 'Clients', keys: 'Keys', routes: 'Routes', audit: 'Audit' };

const byId = (id) => document.getElementById(id);
const form = byId('sign-in').querySelector('form');
const main = byId('main');

/** `{ session, watch }` of whoever is signed in. */
let context = null;
/** Ends the part that is shown. */
let leave;

form.addEventListener('submit', async (event) => {
  event.preventDefault();
  const { id, secret } = form.elements;
  const submit = form.querySelector('[type=submit]');
  let session;
  const refusal = form.querySelector('.refusal');
  if (await attempt(submit, refusal, async () => (session = await Session.signIn(id.value, secret.value)))) {
    form.reset();
    begin(session);
  } else if (refusal.textContent !== '') {
    secret.select();
  }
});

function begin(session) {
  const watch = new Watch(session);
  context = { session, watch };
  session.onEnd = (words) => end(words);
  byId('who').replaceChildren('Signed in as ', element('bdi', { class: 'mono' }, session.id), session.mayWrite ? '' : ' (read only)');
  byId('sign-in').hidden = true;
  byId('shell').hidden = false;
  watch.listen(showState);
  watch.start();
  showPart();
}

/** Takes everything off the page that came with the session. */
function end(words = '') {
  if (!context) return;
  context.watch.stop();
  context.session.signOut();
  context = null;
  leave?.();
  leave = undefined;
  closeDialogs();
  for (const id of ['main', 'who', 'state', 'version', 'said']) byId(id).replaceChildren();
  byId('shell').hidden = true;
  showSignIn(words);
}

function showSignIn(words = '') {
  document.title = 'Sign in · Mintage';
  byId('sign-in').hidden = false;
  form.querySelector('.refusal').textContent = words;
  form.elements.id.focus();
}

function showPart() {
  if (!context) return;
  const [name, ...rest] = location.hash.slice(1).split('/');
  const known = Object.hasOwn(PARTS, name) ? name : 'overview';
  for (const link of document.querySelectorAll('.tabs a')) {
    const current = link.hash === `#${known}`;
    if (current) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  leave?.();
  closeDialogs();
  main.replaceChildren();
  document.title = `${NAMES[known]} · Mintage`;
  try {
    leave = PARTS[known](main, context, rest.length > 0 ? decodeURIComponent(rest.join('/')) : undefined);
  } catch (error) {
    leave = undefined;
    const refusal = refusalLine();
    main.append(refusal);
    refusal.textContent = error.message;
  }
  scrollTo(0, 0);
  (main.querySelector('h1') ?? main).focus({ preventScroll: true });
}

/** One word for how it is, wherever one looks. */
function showState() {
  const { watch } = context;
  const now = watch.looks.at(-1)?.figures;
  const [words, kind] = watch.trouble
    ? ['No answer', 'bad']
    : now === undefined
      ? ['', '']
      : now.ready !== 1
        ? ['Not ready', 'bad']
        : now.breaker > 0
          ? [`Breaker ${now.breakerName}`, 'warn']
          : ['Ready', 'ok'];
  const state = byId('state');
  if (state.textContent !== words) {
    state.textContent = words;
    state.className = `state ${kind}`;
  }
  byId('version').textContent = now?.version ?? '';
}

byId('sign-out').addEventListener('click', () => {
  end();
  // Nor what was looked at: the next one begins at the beginning.
  history.replaceState(null, '', location.pathname);
  performance.clearResourceTimings();
  say('Signed out');
});
addEventListener('hashchange', showPart);
// By hand: the part after # is ours.
document.querySelector('.skip').addEventListener('click', (event) => {
  event.preventDefault();
  main.focus();
});
// A page that a browser keeps to go back to must not keep a secret.
addEventListener('pagehide', () => end());

showSignIn();
