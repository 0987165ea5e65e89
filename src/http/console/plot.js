// A small live plot: SVG in which x is seconds; the style sheet has the colours.

const SVG = 'http://www.w3.org/2000/svg';

/** How much time a plot shows, in seconds. */
export const WINDOW = 120;

const HEIGHT = 100;
/** The y of the base line, and of the end of the scale, below its label. */
const BASE = 95;
const TOP = 19;
/** The newest sample stays hidden until the next one arrives, so that the line moves instead of jumping. */
export const DELAY = 1.2;
/** Samples further apart are not joined: the values in between are unknown. */
const GAP = 5;
/** Seconds between two vertical lines. */
const TICK = 30;

function shape(name, attributes) {
  const created = document.createElementNS(SVG, name);
  for (const [attribute, value] of Object.entries(attributes)) created.setAttribute(attribute, value);
  return created;
}

/** `lines` are `{ value: figures => number | null, kind }`, `top(figures)` is the scale's end where it does not follow the lines. */
export class Plot {
  #lines;
  #top;
  #least;
  #paths = [];
  #area = shape('path', { class: 'area' });
  #ticks = shape('path', { class: 'ticks' });
  #mark = shape('path', { class: 'mark' });
  #moving = shape('g', {});
  #origin = null;

  constructor({ lines, top = () => null, least = 1, area = true }) {
    this.#lines = lines;
    this.#top = top;
    this.#least = least;
    this.svg = shape('svg', { viewBox: `0 0 ${WINDOW} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img' });
    const base = shape('path', { class: 'base', d: `M0 ${BASE}H${WINDOW}` });
    this.#moving.append(this.#ticks);
    if (area) this.#moving.append(this.#area);
    for (const { kind } of lines) {
      const path = shape('path', { class: `line ${kind}` });
      this.#paths.push(path);
      this.#moving.append(path);
    }
    this.svg.append(base, this.#moving, this.#mark);
  }

  /** Draws the samples; returns the end of the scale. */
  draw(samples, clock) {
    this.#origin ??= clock;
    const shown = samples.filter(({ at }) => at > clock - WINDOW - 2 * GAP);
    const top = this.#end(shown);
    const points = this.#lines.map(({ value }) =>
      shown.map(({ at, figures }) => ({ x: at - this.#origin, value: value(figures) })),
    );
    const y = (value) => BASE - (BASE - TOP) * Math.min(value / top, 1);
    points.forEach((line, at) => this.#paths[at].setAttribute('d', linePath(line, y)));
    this.#area.setAttribute('d', areaPath(points[0], y));
    const first = Math.ceil((clock - WINDOW - DELAY) / TICK) * TICK;
    const ticks = Array.from({ length: WINDOW / TICK + 1 }, (_, n) => first + n * TICK - this.#origin);
    this.#ticks.setAttribute('d', ticks.map((x) => `M${x} 0V${HEIGHT}`).join(''));
    return top;
  }

  /** Moves the drawing to the present. */
  move(clock) {
    if (this.#origin === null) return;
    const shift = WINDOW - (clock - DELAY - this.#origin);
    this.#moving.setAttribute('transform', `translate(${shift.toFixed(3)} 0)`);
  }

  /** Marks the moment so many seconds ago; 0 removes the mark. */
  mark(ago) {
    const x = (WINDOW - ago).toFixed(2);
    this.#mark.setAttribute('d', ago > 0 ? `M${x} 0V${HEIGHT}` : '');
  }

  /** For screen readers. */
  describe(text) {
    this.svg.setAttribute('aria-label', text);
  }

  #end(samples) {
    const fixed = samples.length > 0 ? this.#top(samples.at(-1).figures) : null;
    if (fixed) return fixed;
    let most = this.#least;
    for (const { figures } of samples) {
      for (const { value } of this.#lines) most = Math.max(most, value(figures) ?? 0);
    }
    return round(most);
  }
}

/** The next round number. */
function round(value) {
  const decade = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 3, 4, 5, 6, 8, 10].map((step) => step * decade).find((step) => step >= value * 0.999) ?? value;
}

/** Segments of a line: a sample without a value, or a gap, ends one. */
function pieces(points) {
  const all = [];
  let last = null;
  for (const point of points) {
    if (point.value === null) {
      last = null;
      continue;
    }
    if (last && point.x - last.x < GAP) all.at(-1).push(point);
    else all.push([point]);
    last = point;
  }
  return all;
}

function linePath(points, y) {
  const spot = ({ x, value }) => `${x.toFixed(2)} ${y(value).toFixed(2)}`;
  // A single sample is a dot: a line of zero length with round ends.
  return pieces(points).map((piece) => `M${piece.map(spot).join('L')}${piece.length === 1 ? 'h0' : ''}`).join('');
}

function areaPath(points, y) {
  return pieces(points)
    .filter((piece) => piece.length > 1)
    .map((piece) => {
      const line = piece.map(({ x, value }) => `L${x.toFixed(2)} ${y(value).toFixed(2)}`).join('');
      return `M${piece[0].x.toFixed(2)} ${BASE}${line}V${BASE}Z`;
    })
    .join('');
}
