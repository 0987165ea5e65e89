// Routes: which requests /validate allows, and an explanation for one request.

import {
  attempt, button, createErrorBox, element, fields, heading, loadFirst, mono, notify, pill, table, template,
} from './elements.js';
import { confirmDialog, formDialog } from './dialogs.js';

export function routes(place, { session }) {
  const errorBox = createErrorBox();
  const rows = element('div', { class: 'card flush' });
  const add = button(
    'Add route…',
    () =>
      formDialog({
        title: 'Add route',
        about: '{name} matches one path segment, {*rest} all that follow. The most specific route decides.',
        content: routeFields(),
        action: 'Add route',
        work: async (form) => {
          const { public: checked, ...texts } = fields(form);
          const wanted = Object.fromEntries(Object.entries(texts).filter(([, value]) => value !== ''));
          await session.send('POST', '/admin/routes', checked ? { ...wanted, public: true } : wanted);
          notify('Route added');
          await load();
        },
      }),
    'primary',
  );
  place.append(heading('Routes', session.may('routes') && add), errorBox, rows, explainPart(session));

  async function load() {
    const { items } = await session.get('/admin/routes');
    const columns = ['Method', 'Host', 'Path', 'Scope', 'Audience', ...(session.may('routes') ? [''] : [])];
    rows.replaceChildren(table('Routes', columns, items.map(row), 'No routes yet. /validate denies every request.'));
  }

  function row(route) {
    const access = route.public ? [pill('public', 'warn'), orAny(null, 'none')] : [mono(route.scope), orAny(route.audience, 'default')];
    const cells = [orAny(route.method), orAny(route.host), mono(route.path), ...access];
    if (!session.may('routes')) return cells;
    const remove = button(
      'Remove…',
      () =>
        confirmDialog({
          title: `Remove ${words(route)}?`,
          about: ['Gateways deny requests that no other route allows.', 'This cannot be undone.'],
          action: 'Remove route',
          work: async () => {
            await session.send('DELETE', `/admin/routes/${encodeURIComponent(route.id)}`);
            notify('Route removed');
            await load();
          },
        }),
      'danger-quiet small',
    );
    remove.setAttribute('aria-label', `Remove route ${words(route)}`);
    return [...cells, remove];
  }

  loadFirst(add, errorBox, rows, load);
}

/** The fields of a route. A public one has neither scope nor audience: their fields are disabled, and so not sent. */
function routeFields() {
  const content = template('route-fields');
  const [isPublic, ...ofToken] = ['public', 'scope', 'audience'].map((name) => content.querySelector(`[name=${name}]`));
  isPublic.addEventListener('change', () => ofToken.forEach((field) => (field.disabled = isPublic.checked)));
  return content;
}

function orAny(text, any = 'any') {
  return text === null ? element('span', { class: 'soft' }, any) : mono(text);
}

function words(route) {
  return `${route.method ?? 'any method'} ${route.host ?? ''}${route.path}`;
}

function explainPart(session) {
  const errorBox = createErrorBox();
  const answer = element('div', { class: 'explanation', role: 'status' });
  const ask = element('button', { type: 'submit' }, 'Explain');
  const send = async (event) => {
    event.preventDefault();
    answer.replaceChildren();
    await attempt(ask, errorBox, async () => {
      const { content } = await session.send('POST', '/admin/routes/explain', fields(form));
      answer.replaceChildren(...explanation(content));
    });
  };
  const form = element('form', { class: 'in-line', submit: send, autocomplete: 'off' }, template('question-fields'), ask);
  const about = 'Which route decides a request, and why, with the routes that are in the database now.';
  return element('section', { class: 'card part' }, element('h2', {}, 'Explain'), element('p', { class: 'soft' }, about), form, errorBox, answer);
}

function required({ public: isPublic, scope }) {
  return isPublic ? [', which is public and requires no token'] : [', which requires ', mono(scope)];
}

function explanation({ decision, route, reason, others }) {
  const allowed = decision === 'route';
  const verdict = allowed
    ? element('p', {}, pill('decided', 'ok'), ' by ', mono(words(route)), ...required(route), `: ${reason}.`)
    : element('p', {}, pill('denied', 'bad'), ` ${reason}.`);
  const other = ({ route, reason }) => element('li', {}, mono(words(route)), `: ${reason}`);
  return [verdict, others.length > 0 && element('ul', {}, others.map(other))].filter(Boolean);
}
