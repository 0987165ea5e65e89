// The console: sign-in, sign-out, and the section that the fragment of the URL names.

import { audit } from './audit.js';
import { clients } from './clients.js';
import { closeDialogs } from './dialogs.js';
import { attempt, createErrorBox, element, notify } from './elements.js';
import { keys } from './keys.js';
import { overview } from './overview.js';
import { routes } from './policy.js';
import { Session } from './session.js';
import { Watch } from './watch.js';

/** The sections, and the duties that open them. */
const PARTS = {
  overview: { title: 'Overview', show: overview, duties: ['read'] },
  clients: { title: 'Clients', show: clients, duties: ['read', 'clients', 'tokens'] },
  keys: { title: 'Keys', show: keys, duties: ['read', 'keys'] },
  routes: { title: 'Routes', show: routes, duties: ['read', 'routes'] },
  audit: { title: 'Audit', show: audit, duties: ['read', 'audit'] },
};

const byId = (id) => document.getElementById(id);
const form = byId('sign-in').querySelector('form');
const main = byId('main');

/** `{ session, watch }` while a client is signed in; `watch` is `null` without the duty to read. */
let context = null;
/** Ends the section that is shown. */
let leave;

form.addEventListener('submit', async (event) => {
  event.preventDefault();
  const { id, secret } = form.elements;
  const submit = form.querySelector('[type=submit]');
  let session;
  const errorBox = form.querySelector('.error');
  if (await attempt(submit, errorBox, async () => (session = await Session.signIn(id.value, secret.value)))) {
    form.reset();
    begin(session);
  } else if (errorBox.textContent !== '') {
    secret.select();
  }
});

function begin(session) {
  const watch = session.may('read') ? new Watch(session) : null;
  context = { session, watch };
  session.onEnd = (words) => end(words);
  session.onChange = () => {
    watch?.stop();
    for (const id of ['state', 'version']) byId(id).replaceChildren();
    begin(session);
    notify('The duties of this client have changed');
  };
  byId('user').replaceChildren('Signed in as ', element('bdi', { class: 'mono' }, session.id), session.mayWrite ? '' : ' (read-only)');
  byId('sign-in').hidden = true;
  byId('shell').hidden = false;
  watch?.listen(showState);
  watch?.start();
  showPart();
}

/** Removes everything from the page that came with the session. */
function end(words = '') {
  if (!context) return;
  context.watch?.stop();
  context.session.signOut();
  context = null;
  leave?.();
  leave = undefined;
  closeDialogs();
  for (const id of ['main', 'user', 'state', 'version', 'toast']) byId(id).replaceChildren();
  byId('shell').hidden = true;
  showSignIn(words);
}

function showSignIn(words = '') {
  document.title = 'Sign in · Mintage';
  byId('sign-in').hidden = false;
  form.querySelector('.error').textContent = words;
  form.elements.id.focus();
}

function showPart() {
  if (!context) return;
  const [name, ...rest] = location.hash.slice(1).split('/');
  const allowed = Object.keys(PARTS).filter((part) => context.session.may(...PARTS[part].duties));
  const known = allowed.includes(name) ? name : allowed[0];
  for (const link of document.querySelectorAll('.tabs a')) {
    link.hidden = !allowed.includes(link.hash.slice(1));
    const current = link.hash === `#${known}`;
    if (current) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  leave?.();
  closeDialogs();
  main.replaceChildren();
  document.title = `${PARTS[known].title} · Mintage`;
  try {
    const named = known === name && rest.length > 0;
    leave = PARTS[known].show(main, context, named ? decodeURIComponent(rest.join('/')) : undefined);
  } catch (error) {
    leave = undefined;
    const errorBox = createErrorBox();
    main.append(errorBox);
    errorBox.textContent = error.message;
  }
  scrollTo(0, 0);
  (main.querySelector('h1') ?? main).focus({ preventScroll: true });
}

/** The status of the server, in every section. */
function showState() {
  const { watch } = context;
  const now = watch.samples.at(-1)?.figures;
  const [words, kind] = watch.failure
    ? ['No response', 'bad']
    : now === undefined
      ? ['', '']
      : now.ready !== 1
        ? ['Not ready', 'bad']
        : now.breaker > 0
          ? [`Circuit breaker ${now.breakerName}`, 'warn']
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
  // The section is forgotten too: the next session starts with the overview.
  history.replaceState(null, '', location.pathname);
  performance.clearResourceTimings();
  notify('Signed out');
});
addEventListener('hashchange', showPart);
// By hand: the fragment names the section.
document.querySelector('.skip').addEventListener('click', (event) => {
  event.preventDefault();
  main.focus();
});
// A page in the back/forward cache must not keep a secret.
addEventListener('pagehide', () => end());

showSignIn();
