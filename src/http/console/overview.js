// The overview: live plots of the server, and its statistics.

import { button, createErrorBox, duration, element, heading, notify, pill, table } from './elements.js';
import { confirmDialog } from './dialogs.js';
import { DELAY, Plot, WINDOW } from './plot.js';
import { clock } from './watch.js';

/** A plot of 120 s is a few hundred points wide: ten steps per second are smooth. */
const STEP_MS = 100;
const STATS_MS = 5000;
const DESCRIBE_SECONDS = 10;

const unknown = (format) => (value) => (value === null || value === undefined ? '–' : format(value));
const count = unknown((value) => Math.round(value).toLocaleString('en').replaceAll(',', '\u202f'));
const rate = unknown((value) => (value < 10 ? value.toFixed(1) : count(value)));
const percent = unknown((value) => `${(100 * value).toFixed(value > 0.9995 ? 0 : 1)} %`);
const clients = unknown((value) => `${count(value)} ${value === 1 ? 'client' : 'clients'}`);
const time = unknown((seconds) => {
  if (seconds === 0) return '0 s';
  if (seconds < 1e-3) return `${Math.round(seconds * 1e6)} µs`;
  if (seconds < 1) return `${(seconds * 1e3).toFixed(seconds < 0.01 ? 1 : 0)} ms`;
  return `${seconds.toFixed(1)} s`;
});

/** Zero is not drawn: a line along the base would hide the line below it. */
const positive = (value) => (value > 0 ? value : null);

/** One plot each: `value` is the headline, `beside` the figures next to it, `alarm` whether an operator should look. */
const CARDS = [
  {
    id: 'tokens',
    name: 'Tokens issued',
    lines: [
      { kind: 'main', value: (now) => now.tokens },
      { kind: 'bad', value: (now) => positive(now.errors) },
    ],
    value: (now) => [rate(now.tokens), '/s'],
    beside: (now) => [['bad', `${rate(now.errors)} errors/s`]],
    scale: rate,
  },
  {
    id: 'latency',
    name: 'Token latency',
    lines: [
      { kind: 'main', value: (now) => now.p50 },
      { kind: 'second', value: (now) => now.p90 },
      { kind: 'third', value: (now) => now.p99 },
    ],
    least: 1e-4,
    value: (now) => [time(now.p50), ''],
    beside: (now) => [['main', 'p50'], ['second', `p90 ${time(now.p90)}`], ['third', `p99 ${time(now.p99)}`]],
    scale: time,
    alarm: (now) => (now.p99 > 0.05 ? 'warn' : ''),
  },
  {
    id: 'hit-rate',
    name: 'Cache hit rate',
    lines: [{ kind: 'main', value: (now) => now.hitRate }],
    top: () => 1,
    value: (now) => [percent(now.hitRate), ''],
    beside: (now) => [['', `${clients(now.entries)} cached`]],
    scale: percent,
  },
  {
    id: 'requests',
    name: 'Requests',
    lines: [
      { kind: 'main', value: (now) => now.requests },
      { kind: 'bad', value: (now) => positive(now.failures) },
    ],
    value: (now) => [rate(now.requests), '/s'],
    beside: (now) => [['bad', `${rate(now.failures)} 5xx/s`]],
    scale: rate,
    alarm: (now) => (now.failures > 0 ? 'bad' : ''),
  },
  {
    id: 'writer',
    name: 'Writer backlog',
    lines: [{ kind: 'main', value: (now) => now.pending }],
    least: 10,
    value: (now) => [count(now.pending), ''],
    beside: (now) => [['', `oldest ${time(now.oldest)}`], ['', `${rate(now.written)} written/s`]],
    scale: count,
    alarm: (now) => (now.pending > now.maxPending / 2 ? 'bad' : now.oldest > 10 ? 'warn' : ''),
  },
  {
    id: 'pool',
    name: 'Connections in use',
    lines: [
      { kind: 'main', value: (now) => now.inUse },
      { kind: 'bad', value: (now) => positive(now.waiting) },
    ],
    top: (now) => now.maxSize,
    value: (now) => [count(now.inUse), ` of ${count(now.maxSize)}`],
    beside: (now) => [['bad', `${count(now.waiting)} waiting`]],
    scale: count,
    alarm: (now) => (now.waiting > 0 ? 'warn' : ''),
  },
  {
    id: 'breaker',
    name: 'Circuit breaker',
    lines: [
      { kind: 'ok step', value: (now) => (now.breaker === 0 ? 0.3 : null) },
      { kind: 'warn step', value: (now) => (now.breaker === 1 ? 1 : null) },
      { kind: 'bad step', value: (now) => (now.breaker === 2 ? 1.7 : null) },
    ],
    top: () => 2,
    area: false,
    value: (now) => [now.breakerName ?? '–', ''],
    beside: (now) => [['', `last response ${unknown((lag) => lag.toFixed(1))(now.lag)} s ago`]],
    scale: () => 'open',
    alarm: (now) => ['', 'warn', 'bad'][now.breaker] ?? '',
  },
  {
    id: 'revocations',
    name: 'Revocations in memory',
    lines: [{ kind: 'main', value: (now) => now.revocations }],
    least: 10,
    value: (now) => [count(now.revocations), ''],
    beside: () => [['', 'kept until expiry']],
    scale: count,
  },
];

/** Shows the overview in `place`; the returned function stops it. */
export function overview(place, { session, watch }) {
  const still = matchMedia('(prefers-reduced-motion: reduce)');
  const cards = CARDS.map(card);
  const failure = createErrorBox();
  const back = element('input', { type: 'range', id: 'back', min: -WINDOW, max: 0, step: 1, value: 0, input: show });
  const backLabel = element('output', { for: 'back' }, 'now');
  const pause = button('Pause', () => {
    paused = !paused;
    pause.textContent = paused ? 'Resume' : 'Pause';
    pause.setAttribute('aria-pressed', String(paused));
    if (!paused) draw();
  });
  pause.setAttribute('aria-pressed', 'false');
  let paused = false;
  let pausedSamples = [];
  let pausedAt = 0;
  let described = -Infinity;
  let timer;

  const grid = element('div', { class: 'cards' }, cards.map(({ figure }) => figure));
  for (const { figure, frame } of cards) {
    const follow = ({ clientX }) => {
      const { left, width } = frame.getBoundingClientRect();
      back.value = Math.round(((clientX - left) / width - 1) * WINDOW);
      show();
    };
    figure.addEventListener('pointermove', (event) => event.pointerType === 'mouse' && follow(event));
    figure.addEventListener('pointerdown', follow);
    figure.addEventListener('pointerleave', (event) => {
      if (event.pointerType !== 'mouse') return;
      back.value = 0;
      show();
    });
  }
  const details = element('div', { class: 'details' });
  const label = element('label', { for: 'back', class: 'back' }, 'History ', back, backLabel);
  place.append(heading('Overview', label, pause), failure, grid, details);

  function samples() {
    return paused ? pausedSamples : watch.samples;
  }

  function now() {
    return paused ? pausedAt : clock();
  }

  function draw() {
    failure.textContent = watch.failure ?? '';
    if (!paused) [pausedSamples, pausedAt] = [watch.samples, clock()];
    for (const { plot, scale, spec } of cards) {
      const top = plot.draw(samples(), now());
      scale.textContent = spec.scale(top);
    }
    move();
    show();
  }

  function move() {
    for (const { plot } of cards) plot.move(now());
  }

  /** Shows the figures of the selected moment. */
  function show() {
    const ago = -Number(back.value);
    backLabel.textContent = ago === 0 ? 'now' : `${ago} s ago`;
    back.setAttribute('aria-valuetext', backLabel.textContent);
    const at = now() - DELAY - ago;
    const all = samples();
    const sample = ago === 0 ? all.at(-1) : nearest(all, at);
    const describe = sample !== undefined && (clock() - described > DESCRIBE_SECONDS || ago > 0);
    if (describe) described = clock();
    for (const shown of cards) showCard(shown, sample?.figures, ago, describe ? all : null);
  }

  function loop() {
    if (!paused && !still.matches && !document.hidden) move();
    timer = setTimeout(loop, STEP_MS);
  }

  const stopStats = showStats(details, session);
  const stopListening = watch.listen(() => paused || draw());
  draw();
  loop();
  return () => {
    clearTimeout(timer);
    stopListening();
    stopStats();
  };
}

function nearest(samples, at) {
  let best;
  for (const sample of samples) {
    if (!best || Math.abs(sample.at - at) < Math.abs(best.at - at)) best = sample;
  }
  return best && Math.abs(best.at - at) < 3 ? best : undefined;
}

function card(spec) {
  const plot = new Plot(spec);
  plot.describe(spec.name);
  const value = element('span', { class: 'value', id: `value-${spec.id}` });
  const beside = element('span', { class: 'beside' });
  const scale = element('span', { class: 'scale', 'aria-hidden': 'true' });
  const frame = element('div', { class: 'plot' }, plot.svg, scale);
  const caption = element('figcaption', {}, element('span', { class: 'name' }, spec.name), value, beside);
  const figure = element('figure', { class: 'card reading', id: `card-${spec.id}` }, caption, frame);
  return { spec, plot, figure, frame, value, beside, scale };
}

function showCard({ spec, plot, figure, value, beside }, figures, ago, samples) {
  plot.mark(ago);
  if (!figures) {
    value.textContent = '–';
    beside.replaceChildren();
    return;
  }
  const [number, unit] = spec.value(figures);
  value.replaceChildren(number, element('small', {}, unit));
  const key = ([kind, text]) => element('span', { class: kind ? `key ${kind}` : null }, text);
  beside.replaceChildren(...spec.beside(figures).map(key));
  figure.dataset.alarm = spec.alarm?.(figures) ?? '';
  if (samples) plot.describe(description(spec, number + unit, samples));
}

function description(spec, now, samples) {
  const values = samples.map(({ figures }) => spec.lines[0].value(figures)).filter((value) => value !== null);
  if (values.length === 0 || spec.area === false) return `${spec.name}: ${now}`;
  const range = `between ${spec.scale(Math.min(...values))} and ${spec.scale(Math.max(...values))}`;
  return `${spec.name}: ${now}, ${range} in the last two minutes`;
}

/** Shows the statistics of /admin and refreshes them every few seconds. */
function showStats(place, session) {
  let timer;
  let stopped = false;
  const errorBox = createErrorBox();
  const refresh = async () => {
    try {
      const paths = ['cache', 'writer', 'pool'].map((part) => session.get(`/admin/${part}/stats`));
      const [cache, writer, pool] = await Promise.all(paths);
      if (stopped) return;
      errorBox.textContent = '';
      place.replaceChildren(cachePart(cache, session, refresh), writerPart(writer), poolPart(pool));
    } catch (error) {
      if (stopped) return;
      errorBox.textContent = error.message;
      place.append(errorBox);
    }
    clearTimeout(timer);
    timer = setTimeout(() => (isUsed(place) ? later() : refresh()), STATS_MS);
  };
  // Content with the focus or a selection is not replaced.
  const later = () => (timer = setTimeout(() => (isUsed(place) ? later() : refresh()), STATS_MS));
  refresh();
  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}

function isUsed(place) {
  return document.hidden || place.contains(document.activeElement) || !getSelection().isCollapsed;
}

function part(title, ...content) {
  return element('section', { class: 'card part' }, element('h2', {}, title), content);
}

function cachePart(cache, session, refresh) {
  const columns = ['Worker', 'Hit rate', 'Lookups', 'Clients', 'Failed loads', 'Evicted'];
  const row = (name, counts) => [
    name,
    percent(counts.hits + counts.misses > 0 ? counts.hit_rate : null),
    count(counts.hits + counts.misses),
    `${count(counts.entries)} of ${count(counts.capacity)}`,
    count(counts.load_failures),
    count(counts.evictions),
  ];
  const rows = cache.workers.map((counts) => row(String(counts.worker), counts));
  const clear = button('Clear caches…', () =>
    confirmDialog({
      title: 'Clear the client caches?',
      about: ['Every worker loads its clients from the database again. Requests are slower for a moment; nothing is lost.'],
      action: 'Clear caches',
      danger: false,
      work: async () => {
        await session.send('POST', '/admin/cache/clear');
        notify('Caches cleared');
        return refresh;
      },
    }),
  );
  const all = table('Client cache of each worker', columns, [...rows, row('all', cache)], 'No worker responded.');
  all.classList.add('numbers');
  return part('Client caches since start', all, session.may('admin') && element('div', { class: 'actions' }, clear));
}

function facts(pairs) {
  return element('dl', { class: 'facts' }, pairs.map(([name, value]) => element('div', {}, element('dt', {}, name), element('dd', {}, value))));
}

function writerPart(writer) {
  const last = writer.last_flush;
  return part(
    'Writer',
    facts([
      ['Mode', `${writer.mode}, ${writer.durability}`],
      ['Pending', `${count(writer.pending)} of ${count(writer.max_pending)}`],
      ['Written', count(writer.flushed_total)],
      ['Batches', count(writer.batches_total)],
      ['Last batch', last ? `${count(last.rows)} in ${time(last.seconds)}` : '–'],
      ['Failed flushes', count(writer.flush_failures_total)],
      ['Rejected', count(writer.rejected_total)],
      ['Dead letters', count(writer.dead_lettered_total)],
    ]),
  );
}

function poolPart(pool) {
  const kinds = { closed: 'ok', half_open: 'warn', open: 'bad' };
  return part(
    'Database',
    facts([
      ['Backend', pool.backend],
      ['Circuit breaker', pill(pool.breaker.replace('_', ' '), kinds[pool.breaker] ?? 'quiet')],
      ['Connections', `${count(pool.connections)} of ${count(pool.max_size)}`],
      ['Idle', count(pool.idle)],
      ['Waiting', count(pool.waiting)],
      ['Wait time', duration(pool.wait_seconds_total)],
      ['Wait timeouts', count(pool.timeouts_total)],
      ['Discarded', count(pool.discarded_total)],
    ]),
  );
}
