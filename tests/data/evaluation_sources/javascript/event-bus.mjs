/**
 * A typed-by-convention event bus with wildcard topics and replay of the last value.
 *
 * Topics are dotted paths: "sensor.kitchen.temperature". A listener may subscribe to
 * "sensor.*.temperature" (one level) or "sensor.#" (everything below).
 */

const SEPARATOR = '.';

function compile(pattern) {
  const parts = pattern.split(SEPARATOR).map((part) => {
    if (part === '*') return '[^.]+';
    if (part === '#') return '.*';
    return part.replace(/[\\^$+?()[\]{}|]/g, '\\$&');
  });
  return new RegExp(`^${parts.join('\\.')}$`);
}

export class EventBus {
  #listeners = new Map();
  #retained = new Map();
  #nextId = 1;

  constructor({ onError = console.error } = {}) {
    this.onError = onError;
  }

  get size() {
    return this.#listeners.size;
  }

  subscribe(pattern, handler, { replay = false, signal } = {}) {
    if (typeof handler !== 'function') {
      throw new TypeError(`handler of "${pattern}" must be a function, got ${typeof handler}`);
    }
    const id = this.#nextId++;
    const matcher = compile(pattern);
    this.#listeners.set(id, { matcher, handler });
    if (replay) {
      for (const [topic, value] of this.#retained) {
        if (matcher.test(topic)) this.#deliver(handler, topic, value);
      }
    }
    const unsubscribe = () => this.#listeners.delete(id);
    signal?.addEventListener('abort', unsubscribe, { once: true });
    return unsubscribe;
  }

  publish(topic, value, { retain = false } = {}) {
    if (retain) this.#retained.set(topic, value);
    let delivered = 0;
    for (const { matcher, handler } of [...this.#listeners.values()]) {
      if (!matcher.test(topic)) continue;
      this.#deliver(handler, topic, value);
      delivered += 1;
    }
    return delivered;
  }

  /** Resolves with the next value on a topic; rejects when `timeout` milliseconds have passed. */
  once(pattern, { timeout = 0 } = {}) {
    return new Promise((resolve, reject) => {
      let timer;
      const unsubscribe = this.subscribe(pattern, (value, topic) => {
        clearTimeout(timer);
        unsubscribe();
        resolve({ topic, value });
      });
      if (timeout > 0) {
        timer = setTimeout(() => {
          unsubscribe();
          reject(new Error(`nothing on "${pattern}" within ${timeout} ms`));
        }, timeout);
      }
    });
  }

  async *stream(pattern) {
    const waiting = [];
    let wake = () => {};
    const unsubscribe = this.subscribe(pattern, (value, topic) => {
      waiting.push({ topic, value });
      wake();
    });
    try {
      while (true) {
        while (waiting.length > 0) yield waiting.shift();
        await new Promise((resolve) => { wake = resolve; });
      }
    } finally {
      unsubscribe();
    }
  }

  #deliver(handler, topic, value) {
    try {
      handler(value, topic);
    } catch (error) {
      this.onError(error, { topic, value });
    }
  }
}

export default new EventBus();
