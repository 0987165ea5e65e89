// Routes: which requests a gateway lets pass, and an answer to "why this one?".

import { attempt, button, element, fields, heading, mono, pill, refusalLine, say, table, template } from './elements.js';
import { confirmDialog, formDialog } from './dialogs.js';

export function routes(place, { session }) {
  const refusal = refusalLine();
  const rows = element('div', { class: 'card flush' });
  const add = button(
    'Add a route…',
    () =>
      formDialog({
        title: 'Add a route',
        about: '{name} is one segment of the path, {*rest} all that follows. The most specific route decides.',
        content: template('route-fields'),
        action: 'Add',
        work: async (form) => {
          const wanted = Object.fromEntries(Object.entries(fields(form)).filter(([, value]) => value !== ''));
          await session.send('POST', '/admin/routes', wanted);
          say('The route is added');
          await load();
        },
      }),
    'primary',
  );
  place.append(heading('Routes', session.mayWrite && add), refusal, rows);
  if (session.mayWrite) place.append(questionPart(session));

  async function load() {
    const { items } = await session.get('/admin/routes');
    const columns = ['Method', 'Host', 'Path', 'Scope', 'Audience', ...(session.mayWrite ? [''] : [])];
    rows.replaceChildren(table('Routes', columns, items.map(row), 'There is no route: /validate lets nothing pass.'));
  }

  function row(route) {
    const cells = [orAny(route.method), orAny(route.host), mono(route.path), mono(route.scope), orAny(route.audience, 'default')];
    if (!session.mayWrite) return cells;
    const remove = button(
      'Remove…',
      () =>
        confirmDialog({
          title: 'Remove this route?',
          about: [`${words(route)}: gateways refuse what no other route allows.`],
          action: 'Remove route',
          work: async () => {
            await session.send('DELETE', `/admin/routes/${encodeURIComponent(route.id)}`);
            say('The route is removed');
            await load();
          },
        }),
      'danger-quiet small',
    );
    remove.setAttribute('aria-label', `Remove the route ${words(route)}`);
    return [...cells, remove];
  }

  attempt(add, refusal, load);
}

function orAny(text, any = 'any') {
  return text === null ? element('span', { class: 'soft' }, any) : mono(text);
}

function words(route) {
  return `${route.method ?? 'any method'} ${route.host ?? ''}${route.path}`;
}

function questionPart(session) {
  const refusal = refusalLine();
  const answer = element('div', { class: 'explanation', role: 'status' });
  const ask = element('button', { type: 'submit' }, 'Explain');
  const send = async (event) => {
    event.preventDefault();
    answer.replaceChildren();
    await attempt(ask, refusal, async () => {
      const { content } = await session.send('POST', '/admin/routes/explain', fields(form));
      answer.replaceChildren(...explanation(content));
    });
  };
  const form = element('form', { class: 'in-line', submit: send, autocomplete: 'off' }, template('question-fields'), ask);
  const about = 'Which route would decide about a request, and why? As the database has them now.';
  return element('section', { class: 'card part' }, element('h2', {}, 'Explain'), element('p', { class: 'soft' }, about), form, refusal, answer);
}

function explanation({ decision, route, reason, others }) {
  const allowed = decision === 'route';
  const verdict = allowed
    ? element('p', {}, pill('decided', 'ok'), ' by ', mono(words(route)), ', which wants ', mono(route.scope), `: ${reason}.`)
    : element('p', {}, pill('denied', 'bad'), ` ${reason}.`);
  const other = ({ route, reason }) => element('li', {}, mono(words(route)), `: ${reason}`);
  return [verdict, others.length > 0 && element('ul', {}, others.map(other))].filter(Boolean);
}
