/**
 * What a supervisor does now and then beside its workers: each service in a file of its own, all with one life cycle.
 *
 * @module
 */
import type { ActivityStore } from "../activity/store.ts";
import type { Queue } from "../broker/broker.ts";
import { repeat, type StopRepeating } from "../clock.ts";
import type { TroubleLog } from "../log/trouble.ts";

/** What the services of one supervisor share. */
export interface MaintenanceParts {
  /** The pool's name. */
  readonly pool: string;
  /** The queue. */
  readonly queue: Queue;
  /** The rows. */
  readonly store: ActivityStore;
  /** Between two sweeps, in milliseconds. */
  readonly sweepMs: number;
  /** The supervisor as it is registered now: its id, and its lease in milliseconds. */
  readonly registered: () => { readonly supervisorId: string; readonly leaseMs: number };
  /** Where troubles that come back are logged. */
  readonly trouble: TroubleLog;
}

/** What one service does. */
export interface MaintenanceWork {
  /** Its name, which tells its troubles from others. */
  readonly name: string;
  /** What it does, as the line of a trouble says it after "Cannot". */
  readonly doing: string;
  /** Between two runs, in milliseconds. */
  readonly everyMs: number;
  /**
   * Whether it runs first before the start is done.
   *
   * @default {false}
   */
  readonly atStart?: boolean;
  /** Does it once. A stop aborts the signal, and waits for the end. */
  readonly run: (signal: AbortSignal) => Promise<void>;
  /** Where its troubles are logged. */
  readonly trouble: TroubleLog;
}

/** One service. Nothing that goes wrong in it ends it, or the supervisor. */
export class MaintenanceService {
  readonly #work: MaintenanceWork;
  readonly #stopped = new AbortController();
  #started: Promise<void> | undefined;
  #stopRepeating: StopRepeating = () => Promise.resolve();

  /** Does nothing yet. */
  constructor(work: MaintenanceWork) {
    this.#work = work;
  }

  /** Starts it. One that was stopped stays so. */
  start(): Promise<void> {
    return this.#started ??= this.#begin();
  }

  /** One run, as the tests call it. */
  runOnce(signal: AbortSignal = this.#stopped.signal): Promise<void> {
    return this.#work.run(signal);
  }

  /** Ends it; resolves when a run under way has ended. May be called twice, and before the start. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#started;
    await this.#stopRepeating();
  }

  async #begin(): Promise<void> {
    const { atStart, everyMs } = this.#work;
    const { signal } = this.#stopped;
    const onError = (error: unknown) => this.#say(error);
    if (atStart && !signal.aborted) await this.runOnce().catch(onError);
    if (signal.aborted) return;
    this.#stopRepeating = repeat(everyMs, { action: () => this.runOnce(), onError });
  }

  #say(error: unknown): void {
    // What a stop cut off is no trouble.
    if (this.#stopped.signal.aborted) return;
    const { name, doing, trouble } = this.#work;
    trouble.say(name, `Cannot ${doing}`, error);
  }
}
