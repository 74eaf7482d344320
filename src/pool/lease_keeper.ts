/**
 * The bookkeeping of a second: renews the registration of a supervisor and its workers and the leases of what they
 * own, hears from the broker which workers are ready and what they hold, sweeps, and starts over under a new id where
 * others took the supervisor for dead.
 *
 * @module
 */
import { v7 as uuid } from "uuid";
import type { ActivityStore } from "../activity/store.ts";
import type { Queue, Renewal, Unsubscribe } from "../broker/broker.ts";
import { repeat, type StopRepeating } from "../clock.ts";
import { supervisorLogger } from "../log/lifecycle.ts";
import type { TroubleLog } from "../log/trouble.ts";
import { ClosingCalls } from "./closing.ts";
import { ForeignEntries } from "./foreign_entries.ts";
import { sweep } from "./sweep.ts";
import type { WorkerSlot } from "./worker_slot.ts";

const RENEW_EVERY_MS = 1_000;
/** The lease of a pool that drains: what cuts the drain short gives its tasks back within 10 s. */
const DRAIN_LEASE_MS = 5_000;

/** What a lease keeper works with. */
export interface LeaseKeeperParts {
  /** The pool's name. */
  readonly pool: string;
  /** The queue. */
  readonly queue: Queue;
  /** The rows. */
  readonly store: ActivityStore;
  /** The workers. */
  readonly slots: readonly WorkerSlot[];
  /** The lease, in milliseconds. */
  readonly leaseMs: number;
  /** Between two sweeps, in milliseconds. */
  readonly sweepMs: number;
  /** Begins to hear the workers of a supervisor's id. */
  readonly listen: (supervisorId: string) => Promise<Unsubscribe>;
  /** Kills a worker and all that it started. */
  readonly killGroup: (pid: number) => Promise<void>;
  /** Where troubles that come back every second are logged. */
  readonly trouble: TroubleLog;
}

/** Keeps one supervisor registered, from its start to its end. */
export class LeaseKeeper {
  readonly #parts: LeaseKeeperParts;
  readonly #foreign: ForeignEntries;
  #id = uuid();
  #leaseMs: number;
  #unsubscribe: Unsubscribe | undefined;
  #loops: StopRepeating[] = [];
  #renewal: Promise<void> | undefined;
  #renewAgain = false;

  constructor(parts: LeaseKeeperParts) {
    this.#parts = parts;
    this.#leaseMs = parts.leaseMs;
    this.#foreign = new ForeignEntries(parts.queue.name, () => supervisorLogger(parts.pool));
  }

  /** The supervisor's id, as long as others do not take it for dead. */
  get supervisorId(): string {
    return this.#id;
  }

  /** Registers, so that the first claim of a worker is granted, and goes on by itself. If it rejects, it may be called again. */
  async start(): Promise<void> {
    this.#unsubscribe ??= await this.#parts.listen(this.#id);
    await this.#renew();
    this.#loops = [
      repeat(RENEW_EVERY_MS, {
        action: () => this.renewSoon(),
        onError: (error) => this.#say("renew", "renew the leases", error),
      }),
      repeat(this.#parts.sweepMs, {
        action: (signal) => this.#sweep(signal),
        onError: (error) => this.#say("sweep", "sweep", error),
      }),
    ];
  }

  /** Renews now, or once more after the one under way. Troubles are logged, not thrown. */
  renewSoon(): Promise<void> {
    if (this.#renewal !== undefined) {
      this.#renewAgain = true;
      return this.#renewal;
    }
    this.#renewal = (async () => {
      // By the next turn a slot that has just started a worker holds it: its first claim is to be granted.
      await Promise.resolve();
      do {
        this.#renewAgain = false;
        await this.#renew().catch((error) => this.#say("renew", "renew the leases", error));
      } while (this.#renewAgain);
      this.#renewal = undefined;
    })();
    return this.#renewal;
  }

  /** Shortens the leases, for a pool that drains. Resolves when what was to be heard until now has been heard. */
  drain(): Promise<void> {
    this.#leaseMs = Math.min(this.#leaseMs, DRAIN_LEASE_MS);
    return this.renewSoon();
  }

  /** Ends it all, and strikes the supervisor off. */
  async close(closing: ClosingCalls): Promise<void> {
    await closing.call("end the renewals", async () => {
      await Promise.all(this.#loops.map((stop) => stop()));
      await this.#renewal;
    });
    await closing.call(
      "strike this supervisor off",
      () => this.#parts.queue.deregister(this.#id),
    );
    await closing.call(
      "end the log subscription",
      () => this.#unsubscribe?.() ?? Promise.resolve(),
    );
  }

  async #renew(): Promise<void> {
    const supervisorId = this.#id;
    const workerIds = this.#parts.slots.flatMap((slot) => slot.livingId ?? []);
    const renewal = await this.#parts.queue.renew({
      supervisorId,
      workerIds,
      leaseMs: this.#leaseMs,
    });
    if (supervisorId !== this.#id) return;
    if (renewal.swept) return await this.#startOver();
    this.#apply(renewal);
  }

  #apply(renewal: Renewal): void {
    this.#foreign.look(renewal.diagnostics);
    for (const slot of this.#parts.slots) {
      const workerId = slot.livingId;
      if (workerId === undefined) continue;
      slot.holds(
        renewal.owned.filter((claim) => claim.workerId === workerId).map((claim) => claim.id),
      );
      const message = renewal.ready.get(workerId);
      if (message !== undefined) slot.heardReady(workerId, message);
    }
  }

  /** Others took this supervisor for dead and its tasks away: its workers run what is not theirs any more. */
  async #startOver(): Promise<void> {
    const log = supervisorLogger(this.#parts.pool);
    log.warn("Taken for dead by another supervisor: replacing all workers under a new id");
    // What the broker may refuse comes before the new id is taken: under the old one the next renewal is told the
    // same, and this begins again.
    const [id, unsubscribe] = [uuid(), this.#unsubscribe];
    this.#unsubscribe = await this.#parts.listen(id);
    this.#id = id;
    await Promise.all(
      this.#parts.slots.map((slot) =>
        slot.livingId === undefined || slot.worker === undefined
          ? undefined
          : this.#parts.killGroup(slot.worker.child.pid)
      ),
    );
    await new ClosingCalls((message) => log.warn(message))
      .call("end the former log subscription", () => unsubscribe?.() ?? Promise.resolve());
    // Registers the new id, with the workers that it has by now.
    this.#renewAgain = true;
  }

  async #sweep(signal: AbortSignal): Promise<void> {
    const { queue, store, pool, trouble } = this.#parts;
    const options = { supervisorId: this.#id, leaseMs: this.#leaseMs, signal };
    await sweep(options, { queue, store, pool, trouble });
  }

  #say(kind: string, doing: string, error: unknown): void {
    this.#parts.trouble.say(kind, `Cannot ${doing}`, error);
  }
}
