import { EventEmitter } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';

export enum State {
  Waiting,
  Running,
  Done,
  Failed,
}

export interface Job<T = unknown> {
  readonly name: string;
  readonly after?: readonly string[];
  readonly retries?: number;
  run(signal: AbortSignal): Promise<T>;
}

interface Entry {
  job: Job;
  state: State;
  attempts: number;
  error?: Error;
}

type Hook = (entry: Readonly<Entry>) => void;

/** Runs jobs in the order of their dependencies, `limit` at a time. */
export class Scheduler extends EventEmitter {
  private readonly entries = new Map<string, Entry>();
  private readonly hooks: Hook[] = [];

  constructor(private readonly limit: number = 4, private readonly pause: number = 200) {
    super();
    if (!Number.isInteger(limit) || limit < 1) {
      throw new RangeError(`limit must be a positive whole number, got ${limit}`);
    }
  }

  add(...jobs: Job[]): this {
    for (const job of jobs) {
      if (this.entries.has(job.name)) throw new Error(`two jobs are called ${job.name}`);
      this.entries.set(job.name, { job, state: State.Waiting, attempts: 0 });
    }
    return this;
  }

  onChange(hook: Hook): void {
    this.hooks.push(hook);
  }

  private ready(): Entry[] {
    return [...this.entries.values()].filter(
      ({ job, state }) =>
        state === State.Waiting && (job.after ?? []).every((name) => this.entries.get(name)?.state === State.Done),
    );
  }

  private async execute(entry: Entry, signal: AbortSignal): Promise<void> {
    const allowed = 1 + (entry.job.retries ?? 0);
    entry.state = State.Running;
    for (entry.attempts = 1; entry.attempts <= allowed; entry.attempts++) {
      try {
        await entry.job.run(signal);
        entry.state = State.Done;
        break;
      } catch (error) {
        entry.error = error as Error;
        if (entry.attempts === allowed || signal.aborted) entry.state = State.Failed;
        else await sleep(this.pause * 2 ** entry.attempts, undefined, { signal });
      }
    }
    this.hooks.forEach((hook) => hook(entry));
    this.emit(entry.state === State.Done ? 'done' : 'failed', entry.job.name);
  }

  async run(signal: AbortSignal = new AbortController().signal): Promise<Map<string, State>> {
    const running = new Set<Promise<void>>();
    for (;;) {
      for (const entry of this.ready().slice(0, this.limit - running.size)) {
        const work: Promise<void> = this.execute(entry, signal).finally(() => running.delete(work));
        running.add(work);
      }
      if (running.size === 0) break;
      await Promise.race(running);
    }
    return new Map([...this.entries].map(([name, { state }]) => [name, state]));
  }
}
