// The watch over the server: looks at /metrics every second, and remembers what a plot can show.

import { WINDOW } from './plot.js';
import { between, read } from './scrape.js';

const EVERY_MS = 1000;

/** Seconds on a clock that nobody sets. */
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
  looks = [];
  /** Why the last look failed, or `null`. */
  trouble = null;

  constructor(session) {
    this.#session = session;
  }

  start() {
    this.#look();
  }

  stop() {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#listeners.clear();
    this.looks = [];
  }

  /** Calls back after each look, until the function that it returns is called. */
  listen(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async #look() {
    const began = clock();
    try {
      const scrape = read(await this.#session.get('/metrics'));
      const at = clock();
      if (this.#last) this.looks.push({ at, figures: between(this.#last.scrape, scrape, at - this.#last.at) });
      this.#last = { scrape, at };
      this.trouble = null;
    } catch (refusal) {
      this.trouble = refusal.message;
    }
    if (this.#stopped) return;
    this.looks = this.looks.filter(({ at }) => at > clock() - WINDOW - 15);
    for (const listener of this.#listeners) listener();
    // The next second, however long this look took.
    const wait = Math.max(EVERY_MS - (clock() - began) * 1000, EVERY_MS / 4);
    this.#timer = setTimeout(() => this.#look(), wait);
  }
}
