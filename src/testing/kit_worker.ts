/**
 * The worker of a test kit: takes one task at a time and does with it what a worker process does.
 *
 * @module
 */
import { AsyncLocalStorage } from "node:async_hooks";
import type { ActivityStore } from "../activity/store.ts";
import type { Claim, Depth, Queue } from "../broker/broker.ts";
import { repeat, settlesWithin, type StopRepeating } from "../clock.ts";
import { AgentexecError } from "../errors.ts";
import { activityMessages } from "../config.ts";
import { restoreOrphans } from "../lifecycle/restore.ts";
import { settleUnknown } from "../lifecycle/unknown.ts";
import type { Database } from "../task/context.ts";
import type { Task } from "../task/definition.ts";
import { Run } from "../worker/run.ts";
import { type Frame, runInFrame } from "./frame.ts";
import { KIT_CLOSE_MS } from "../stop_budget.ts";

/** How often a run asks whether it is to stop; a worker does once a second. */
const CHECK_EVERY_MS = 20;
/** Nobody else takes a claim, so none has to lapse. */
const LEASE_MS = 365 * 86_400_000;

/** What a {@linkcode KitWorker} is made of. */
export interface KitWorkerParts {
  /** The queue. */
  readonly queue: Queue;
  /** The rows. */
  readonly store: ActivityStore;
  /** The pool's tasks. */
  readonly tasks: ReadonlyMap<string, Task>;
  /** The most bytes of a result. */
  readonly maxResultBytes: number;
  /** What handlers see as `db`. */
  readonly database: () => Database;
}

/** One worker, in this process. */
export class KitWorker {
  readonly #parts: KitWorkerParts;
  readonly #supervisorId = crypto.randomUUID();
  /** What runs, and what ends the questions whether it is to stop. */
  readonly #runs = new Map<Run, StopRepeating>();
  /** The ids of what was claimed and is not settled: the broker takes back what the next claim does not name. */
  readonly #held = new Set<string>();
  readonly #working = new Set<Promise<void>>();
  readonly #stopping = new AbortController();
  /** What surrounds whoever enqueues a task, or waits for it, does not reach into a worker. */
  readonly #outside = AsyncLocalStorage.snapshot();

  constructor(parts: KitWorkerParts) {
    this.#parts = parts;
  }

  /** Says that the queue is served; a claim needs that. */
  async register(): Promise<void> {
    await this.#parts.queue.renew({
      supervisorId: this.#supervisorId,
      workerIds: [this.#workerId],
      leaseMs: LEASE_MS,
    });
  }

  /** How much waits. */
  depth(): Promise<Depth> {
    return this.#parts.queue.depth();
  }

  /** Takes the next due task, and holds it; undefined where none is due. One call at a time. */
  async claim(): Promise<Claim | undefined> {
    const { queue } = this.#parts;
    for (;;) {
      await this.register();
      const { claims, orphans } = await queue.claim({
        workerId: this.#workerId,
        slots: 1,
        holding: [...this.#held],
        leaseMs: LEASE_MS,
      });
      for (const { id } of claims) this.#held.add(id);
      if (orphans.length > 0) {
        await restoreOrphans(orphans, { ...this.#parts, storeContext: true });
      }
      if (claims.length > 0 || orphans.length === 0) return claims[0];
    }
  }

  /** Does with a claim what a worker does; its handler runs in the frame. */
  async work(claim: Claim, frame: Frame): Promise<void> {
    const work = this.#settle(claim, frame);
    this.#working.add(work);
    try {
      await work;
    } finally {
      this.#working.delete(work);
      this.#held.delete(claim.id);
    }
  }

  /** Tells what runs that it is lost, and waits a moment for it. */
  async close(): Promise<void> {
    this.#stopping.abort();
    const runs = [...this.#runs];
    for (const [run] of runs) run.lose("The test kit was closed");
    // A handler may never end: nothing is asked on its behalf any more.
    await Promise.all(runs.map(([_, stopChecking]) => stopChecking()));
    await settlesWithin(Promise.allSettled(this.#working), KIT_CLOSE_MS);
  }

  get #workerId(): string {
    return `${this.#supervisorId}/0/1`;
  }

  async #settle(claim: Claim, frame: Frame): Promise<void> {
    const { queue, store, tasks, maxResultBytes, database } = this.#parts;
    const task = tasks.get(claim.name);
    if (task === undefined) return await settleUnknown(claim, this.#parts);
    let refused: string | undefined;
    const run = new Run(claim, task, {
      queue,
      store,
      brokerId: await queue.open(),
      messages: activityMessages(),
      maxResultBytes,
      // Where the pool wants rows to keep none, its store sees to that.
      storeContext: true,
      ungranted: [],
      database,
      stopping: this.#stopping.signal,
      // A test is not to wait for a rule of its database to change.
      onRefused: (line) => {
        refused = line;
        run.lose(line);
      },
    });
    const stopChecking = repeat(CHECK_EVERY_MS, {
      action: () => this.#check(run),
      // A cancel is then noticed a second later; a kit that is broken fails in what the test itself waits for.
      onError: () => {},
    });
    this.#runs.set(run, stopChecking);
    try {
      await this.#outside(() => runInFrame(frame, () => run.execute()));
      if (refused !== undefined) throw new AgentexecError(refused);
    } finally {
      this.#runs.delete(run);
      await stopChecking();
    }
  }

  async #check(run: Run): Promise<void> {
    if (run.isLost) return;
    const [state] = await this.#parts.queue.check([run.claim]);
    if (state === "cancel") run.cancel();
  }
}
