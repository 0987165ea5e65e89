// Reads /metrics every second and keeps as many samples as a plot shows.

import { WINDOW } from './plot.js';
import { between, read } from './scrape.js';

const INTERVAL_MS = 1000;

/** Seconds of a monotonic clock. */
export function clock() {
  return performance.now() / 1000;
}

export class Watch {
  #session;
  #timer;
  #last = null;
  #stopped = false;
  #listeners = new Set();

  /** `{ at, figures }`, oldest first. */
  samples = [];
  /** Why the last read failed, or `null`. */
  failure = null;

  constructor(session) {
    this.#session = session;
  }

  start() {
    this.#poll();
  }

  stop() {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#listeners.clear();
    this.samples = [];
  }

  /** Calls back after each read, until the returned function is called. */
  listen(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async #poll() {
    const start = clock();
    try {
      const scrape = read(await this.#session.get('/metrics'));
      const at = clock();
      if (this.#last) this.samples.push({ at, figures: between(this.#last.scrape, scrape, at - this.#last.at) });
      this.#last = { scrape, at };
      this.failure = null;
    } catch (error) {
      this.failure = error.message;
    }
    if (this.#stopped) return;
    this.samples = this.samples.filter(({ at }) => at > clock() - WINDOW - 15);
    for (const listener of this.#listeners) listener();
    // Once per second, however long this read took.
    const wait = Math.max(INTERVAL_MS - (clock() - start) * 1000, INTERVAL_MS / 4);
    this.#timer = setTimeout(() => this.#poll(), wait);
  }
}
