/**
 * The bookkeeping of a second: renews the registration of a supervisor and its workers and the leases of what they
 * own, hears from the broker which workers are ready and what they hold, and starts over under a new id where others
 * took the supervisor for dead.
 *
 * @module
 */
import { v7 as uuid } from "uuid";
import type { QueueDiagnostics, Renewal, SupervisorQueue, Unsubscribe } from "../broker/broker.ts";
import { repeat, type StopRepeating } from "../clock.ts";
import { supervisorLogger } from "../log/loggers.ts";
import type { TroubleLog } from "../log/trouble.ts";
import { ClosingCalls } from "./closing.ts";
import type { WorkerSlot } from "./worker_slot.ts";

const RENEW_EVERY_MS = 1_000;
/** The lease of a pool that drains: what cuts the drain short gives its tasks back within 10 s. */
const DRAIN_LEASE_MS = 5_000;

/** What a registration works with. */
export interface RegistrationParts {
  /** The pool's name. */
  readonly pool: string;
  /** The queue. */
  readonly queue: SupervisorQueue;
  /** The workers. */
  readonly slots: readonly WorkerSlot[];
  /** The lease, in milliseconds. */
  readonly leaseMs: number;
  /** Begins to hear the workers of a supervisor's id. */
  readonly listen: (supervisorId: string) => Promise<Unsubscribe>;
  /** Kills a worker and all that it started. */
  readonly killGroup: (pid: number) => Promise<void>;
  /** Where troubles that come back every second are logged. */
  readonly trouble: TroubleLog;
  /** The last calls are made by it. */
  readonly closing: ClosingCalls;
}

/** Keeps one supervisor registered, from its start to its end. */
export class Registration {
  readonly #parts: RegistrationParts;
  #id = uuid();
  #leaseMs: number;
  #unsubscribe: Unsubscribe | undefined;
  #starting: Promise<void> | undefined;
  #isRegistered = false;
  #diagnostics: QueueDiagnostics | undefined;
  #stopRenewing: StopRepeating = () => Promise.resolve();
  #renewal: Promise<void> | undefined;
  #renewAgain = false;
  #resting: Promise<void> | undefined;
  #stopped: Promise<void> | undefined;

  constructor(parts: RegistrationParts) {
    this.#parts = parts;
    this.#leaseMs = parts.leaseMs;
  }

  /** The supervisor's id, as long as others do not take it for dead. */
  get supervisorId(): string {
    return this.#id;
  }

  /** What it has of the queue, as it is now: its id, and its lease in milliseconds. */
  get lease(): { readonly supervisorId: string; readonly leaseMs: number } {
    return { supervisorId: this.#id, leaseMs: this.#leaseMs };
  }

  /** What the last renewal said of the queue; undefined before the first. */
  get diagnostics(): QueueDiagnostics | undefined {
    return this.#diagnostics;
  }

  /** Registers, so that the first claim of a worker is granted, and goes on by itself. If it rejects, it may be called again. */
  start(): Promise<void> {
    return this.#starting ??= this.#begin().catch((error) => {
      this.#starting = undefined;
      throw error;
    });
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
        await this.#renew().catch((error) => this.#say(error));
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

  /** Ends the renewals, and leaves the supervisor registered. May be called twice, and before the start. Never rejects. */
  rest(): Promise<void> {
    return this.#resting ??= this.#parts.closing.call("end the renewals", async () => {
      await this.#starting?.catch(() => {});
      await this.#stopRenewing();
      await this.#renewal;
    });
  }

  /** Does that, and strikes the supervisor off. May be called twice, and before the start. Never rejects. */
  stop(): Promise<void> {
    return this.#stopped ??= this.#end();
  }

  async #begin(): Promise<void> {
    if (this.#resting !== undefined) return;
    this.#unsubscribe ??= await this.#parts.listen(this.#id);
    if (this.#resting !== undefined) return;
    this.#isRegistered = true;
    await this.#renew();
    if (this.#resting !== undefined) return;
    this.#stopRenewing = repeat(RENEW_EVERY_MS, {
      action: () => this.renewSoon(),
      onError: (error) => this.#say(error),
    });
  }

  async #end(): Promise<void> {
    const { closing, queue } = this.#parts;
    await this.rest();
    if (this.#isRegistered) {
      await closing.call("strike this supervisor off", () => queue.deregister(this.#id));
    }
    const unsubscribe = this.#unsubscribe;
    if (unsubscribe !== undefined) await closing.call("end the log subscription", unsubscribe);
  }

  async #renew(): Promise<void> {
    const supervisorId = this.#id;
    const workerIds = this.#parts.slots.flatMap((slot) => slot.livingId ?? []);
    const renewal = await this.#parts.queue.renew({ ...this.lease, workerIds });
    if (supervisorId !== this.#id) return;
    if (renewal.swept) return await this.#startOver();
    this.#apply(renewal);
  }

  #apply(renewal: Renewal): void {
    this.#diagnostics = renewal.diagnostics;
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

  #say(error: unknown): void {
    this.#parts.trouble.say("renew", "Cannot renew the leases", error);
  }
}
