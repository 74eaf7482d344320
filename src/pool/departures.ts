/**
 * The ends of workers: what is left of each one's processes is killed, its last words are heard, and its tasks are
 * settled, however long a store is away.
 *
 * @module
 */
import type { ActivityStore } from "../activity/store.ts";
import type { Queue } from "../broker/broker.ts";
import { aborted, settlesWithin, sleep } from "../clock.ts";
import { type Departure, settleWorker } from "../lifecycle/settle_worker.ts";
import { supervisorLogger } from "../log/loggers.ts";
import type { LogRelay } from "../log/relay.ts";
import type { TroubleLog } from "../log/trouble.ts";
import { type ExitCause, uncaughtFrom } from "../process/exit_cause.ts";
import type { Guardian } from "../process/guardian.ts";
import type { WorkerChannel } from "../process/handshake.ts";
import type { Interrupted } from "../task/definition.ts";
import { closingCall } from "./closing.ts";
import type { SpawnedWorker, WorkerSlot } from "./worker_slot.ts";
import { HEAR_BYE_MS, SETTLE_MS } from "../stop_budget.ts";

/** Between two tries to settle what a worker left, while a store is away. */
const SETTLE_AGAIN_MS = 1_000;

/** What the ends of workers are dealt with by. */
export interface DeparturesParts {
  /** The pool's name. */
  readonly pool: string;
  /** The queue. */
  readonly queue: Queue;
  /** The rows. */
  readonly store: ActivityStore;
  /** How many crashes end a task. */
  readonly crashLimit: number;
  /** Which way the workers talk. */
  readonly channel: WorkerChannel["kind"];
  /** Hears the workers. */
  readonly relay: LogRelay;
  /** Kills what is left of them. */
  readonly guardian: Guardian;
  /** Where troubles that come back every second are logged. */
  readonly trouble: TroubleLog;
}

/** What the tasks of workers that ended have come to. */
export interface Settled {
  /** The ids of the tasks that a stop cut off. */
  readonly cutOff: readonly string[];
  /** What could not be settled, one line each; it is left to the next sweep. */
  readonly unsettled: readonly string[];
}

/** Deals with the ends of the workers of one supervisor. */
export class Departures {
  readonly #parts: DeparturesParts;
  readonly #stopAsked = new AbortController();
  readonly #forced = new AbortController();
  /** What becomes of a task that is cut off, once there is a stop. */
  #interrupted: ((taskName: string) => Interrupted) | undefined;
  readonly #settling = new Set<Promise<void>>();
  #cutOff: string[] = [];
  #unsettled: string[] = [];

  constructor(parts: DeparturesParts) {
    this.#parts = parts;
  }

  /** From now on a worker's end is no surprise, and a store may take only so much time. */
  stop(interrupted: (taskName: string) => Interrupted): void {
    this.#interrupted = interrupted;
    this.#stopAsked.abort();
  }

  /** From now on nobody's last words are waited for. */
  force(): void {
    this.#forced.abort();
  }

  /** Deals with one end. Never rejects for a store that is away. */
  async departed(slot: WorkerSlot, worker: SpawnedWorker, cause: ExitCause): Promise<void> {
    const { guardian, pool, relay } = this.#parts;
    const { pid } = worker.child;
    await guardian.killGroup(pid);
    guardian.remove(pid);
    if (cause.code === 0) await this.#hearLastWords(worker);
    relay.ended(worker.workerId);
    // Whatever the code: nobody asked it to end, and what it ran may be charged with a crash. Of one that was never
    // ready it has been told.
    if (!slot.isCutOff && slot.hasBeenReady && this.#interrupted === undefined) {
      supervisorLogger(pool).warn(
        `Worker ${slot.number} (pid ${pid}) ended: ${describe(worker, cause)}`,
      );
    }
    const settling = this.#settle(slot, worker, cause);
    this.#settling.add(settling);
    settling.finally(() => this.#settling.delete(settling));
    // A replacement does not wait for a store that is away; a stop does, within its own limits.
    if (this.#interrupted === undefined) await settlesWithin(settling, SETTLE_AGAIN_MS);
    else await settling;
  }

  /** Resolves when nothing is being settled any more, also of workers that ended while a store was away. */
  async settled(): Promise<Settled> {
    await Promise.all(this.#settling);
    return { cutOff: this.#cutOff, unsettled: this.#unsettled };
  }

  /** By the broker they may still be on their way; a pipe has been read to its end by now. */
  async #hearLastWords({ workerId }: SpawnedWorker): Promise<void> {
    if (this.#parts.channel === "pipe") return;
    const heard = this.#parts.relay.byeOf(workerId);
    await settlesWithin(Promise.race([heard, aborted(this.#forced.signal)]), HEAR_BYE_MS);
  }

  /** Never rejects: whatever is wrong is logged and tried again, and what a stop leaves is in its outcome. */
  async #settle(slot: WorkerSlot, worker: SpawnedWorker, cause: ExitCause): Promise<void> {
    const { queue, store, trouble } = this.#parts;
    const { signal } = this.#stopAsked;
    for (;;) {
      try {
        const departure = this.#departureOf(slot, worker, cause);
        const settling = settleWorker(worker.workerId, departure, {
          queue,
          store,
          until: () => signal,
          tell: (line) => supervisorLogger(this.#parts.pool).error(line),
        });
        // While the pool runs a store may take its time; once it stops, only so much.
        await Promise.race([settling, aborted(signal)]);
        this.#cutOff.push(...await closingCall(settling, SETTLE_MS));
        return;
      } catch (error) {
        const doing = `Cannot settle the tasks of Worker ${slot.number}`;
        trouble.say("settle", doing, error);
        if (this.#interrupted !== undefined) {
          this.#unsettled.push(`${doing}: ${(error as Error).message}`);
          return;
        }
        await sleep(SETTLE_AGAIN_MS, { signal });
      }
    }
  }

  #departureOf(slot: WorkerSlot, worker: SpawnedWorker, cause: ExitCause): Departure {
    return slot.isCutOff && this.#interrupted !== undefined
      ? { kind: "cut off", interrupted: this.#interrupted }
      : { kind: "died", cause: describe(worker, cause), crashLimit: this.#parts.crashLimit };
  }
}

function describe(worker: SpawnedWorker, cause: ExitCause): string {
  const uncaught = uncaughtFrom(worker.child.stderrTail);
  return uncaught === undefined ? cause.description : `${cause.description}: ${uncaught}`;
}
