/**
 * The supervisor: starts the workers, keeps their registration and leases, replaces those that end, settles
 * what they left, and stops them.
 *
 * @module
 */
import { v7 as uuid } from "uuid";
import type { ActivityStore } from "../activity/store.ts";
import type { Queue, Renewal, Unsubscribe } from "../broker/broker.ts";
import {
  aborted,
  repeat,
  settlesWithin,
  sleep,
  type StopRepeating,
  withDeadline,
} from "../clock.ts";
import { ConnectionError, StartError } from "../errors.ts";
import { supervisorLogger } from "../log/lifecycle.ts";
import { TroubleLog } from "../log/trouble.ts";
import { LogRelay } from "../log/relay.ts";
import { ChildProcess } from "../process/child.ts";
import { type ExitCause, uncaughtFrom } from "../process/exit_cause.ts";
import { Guardian } from "../process/guardian.ts";
import { encodeBootRecord, READY_HINT, type ReadyMessage } from "../process/handshake.ts";
import type { Interrupted } from "../task/definition.ts";
import { callerPlace, checkReady, describeEarlyDeath, describeNotReady } from "./start_problems.ts";
import { type Departure, settleWorker } from "./settle.ts";
import { sweep } from "./sweep.ts";
import { type SlotHost, type SpawnedWorker, type WorkerInfo, WorkerSlot } from "./worker_slot.ts";
import type { WorkerPlan } from "./worker_plan.ts";

const RENEW_EVERY_MS = 1_000;
/** The lease of a pool that drains: what cuts the drain short gives its tasks back within 10 s. */
const DRAIN_LEASE_MS = 5_000;
/** How many early deaths of one worker end a start. */
const EARLY_DEATHS = 3;
/** How long the last log lines of a worker that ended by itself are waited for. */
const BYE_MS = 1_000;
/** How long a closing call to the broker may take: a forced stop has 2 s for everything. */
const CLOSING_MS = 800;
/** The same once one got no answer: the others are tried, and not waited for in earnest. */
const CLOSING_AWAY_MS = 100;
/** How long a stop takes to settle what one worker left. */
const SETTLE_MS = 800;
/** Between two tries to settle what a worker left, while a store is away. */
const SETTLE_AGAIN_MS = 1_000;

/** What a supervisor works with. */
export interface SupervisorParts {
  /** The pool's name. */
  readonly pool: string;
  /** Whether log lines name the pool. */
  readonly showPool: boolean;
  /** The queue. */
  readonly queue: Queue;
  /** The rows. */
  readonly store: ActivityStore;
  /** How its workers are started. */
  readonly plan: WorkerPlan;
  /** How many workers. */
  readonly numWorkers: number;
  /** The lease, in milliseconds. */
  readonly leaseMs: number;
  /** Between two sweeps, in milliseconds. */
  readonly sweepMs: number;
  /** How long the workers may take to be ready, in milliseconds. */
  readonly startMs: number;
  /** How many crashes end a task. */
  readonly crashLimit: number;
}

/** How to stop. */
export interface StopRequest {
  /** How long to wait for what runs, in milliseconds. */
  readonly timeoutMs: number;
  /** Aborts to wait no longer. */
  readonly force: AbortSignal;
  /** What becomes of a task that is cut off. */
  readonly interrupted: (taskName: string) => Interrupted;
}

/** How a stop went. */
export interface StopOutcome {
  /** The ids of the tasks that were cut off. */
  readonly cutOff: readonly string[];
  /** How many workers had to be killed. */
  readonly killed: number;
  /** What could not be settled, one line each; it is left to the next sweep. */
  readonly unsettled: readonly string[];
}

/** The supervisor of one pool, from one start to one stop. */
export class Supervisor implements SlotHost {
  readonly #parts: SupervisorParts;
  readonly #guardian: Guardian;
  readonly #relay: LogRelay;
  readonly #slots: readonly WorkerSlot[];
  readonly #failedStart = new AbortController();
  #id = uuid();
  #leaseMs: number;
  #unsubscribe: Unsubscribe = () => Promise.resolve();
  #loops: StopRepeating[] = [];
  #renewal: Promise<void> | undefined;
  #renewAgain = false;
  #stopping: StopRequest | undefined;
  readonly #stopAsked = new AbortController();
  /** How long the next closing call is waited for. */
  #closingMs = CLOSING_MS;
  readonly #settling = new Set<Promise<void>>();
  #allReady: () => void = () => {};
  #cutOff: string[] = [];
  #unsettled: string[] = [];
  readonly #trouble = new TroubleLog(() => this.#log());
  #warnedOfActing = false;

  private constructor(parts: SupervisorParts, guardian: Guardian) {
    this.#parts = parts;
    this.#guardian = guardian;
    this.#leaseMs = parts.leaseMs;
    this.#relay = new LogRelay({ pool: parts.pool, showPool: parts.showPool });
    this.#slots = Array.from(
      { length: parts.numWorkers },
      (_, number) => new WorkerSlot(number, this),
    );
  }

  /**
   * Starts the workers; resolves when all are ready, or the signal asks for a stop: what already runs is then
   * stopped as at any other time.
   *
   * @throws {StartError} If they do not get ready; what was started is stopped then.
   */
  static async start(parts: SupervisorParts, signal: AbortSignal): Promise<Supervisor> {
    const guardian = await Guardian.start({
      ...parts.plan.guardian,
      warn: (message) => supervisorLogger(parts.pool).warn(message),
    });
    const supervisor = new Supervisor(parts, guardian);
    try {
      await supervisor.#begin(signal);
    } catch (error) {
      await supervisor.stop({
        timeoutMs: 0,
        force: AbortSignal.abort(),
        interrupted: () => "requeue",
      });
      throw error;
    }
    return supervisor;
  }

  /** The workers as `pool.workers` shows them. */
  get workers(): readonly WorkerInfo[] {
    return this.#slots.map((slot) => slot.info);
  }

  async #begin(signal: AbortSignal): Promise<void> {
    this.#unsubscribe = await this.#listen(this.#id);
    // A registration before the first worker, so that its first claim is granted.
    await this.#renew();
    this.#loops = [
      repeat(RENEW_EVERY_MS, () => this.#renewSoon()),
      repeat(this.#parts.sweepMs, () => this.#sweep()),
    ];
    const ready = new Promise<void>((resolve) => {
      this.#allReady = resolve;
    });
    for (const slot of this.#slots) slot.start();
    void this.#renewSoon();
    await this.#readyOrFailed(ready, signal);
  }

  async #readyOrFailed(ready: Promise<void>, signal: AbortSignal): Promise<void> {
    const failed = aborted(this.#failedStart.signal).then(() =>
      Promise.reject(this.#failedStart.signal.reason)
    );
    await withDeadline(Promise.race([ready, aborted(signal), failed]), {
      ms: this.#parts.startMs,
      error: () => describeNotReady(this.#slots, this.#parts.startMs),
    });
  }

  /** Hears the workers that talk by the broker; those that talk by their pipes are heard from their start. */
  #listen(supervisorId: string): Promise<Unsubscribe> {
    if (this.#parts.plan.channel === "pipe") return Promise.resolve(() => Promise.resolve());
    return this.#parts.queue.subscribe({ kind: "log", supervisorId }, {
      onMessage: (message) => this.#hear(message),
    });
  }

  #hear(message: string): void {
    // What a worker says when it is ready is in a key; this only saves the wait for the next second.
    if (message === READY_HINT) void this.#renewSoon();
    else this.#relay.receive(message);
  }

  // The slots' host

  spawn(slot: WorkerSlot, spawnNumber: number): SpawnedWorker {
    const { plan } = this.#parts;
    const workerId = `${this.#id}/${slot.number}/${spawnNumber}`;
    const worker = { workerId, number: slot.number, pid: 0 };
    // A mark of its own: what one worker writes by accident cannot be a message, nor another worker's.
    const channel = plan.channel === "pipe"
      ? { kind: plan.channel, mark: crypto.randomUUID() }
      : { kind: plan.channel };
    const child = new ChildProcess({
      command: plan.command,
      args: plan.args,
      env: plan.env,
      firstLine: encodeBootRecord({
        ...plan.boot,
        supervisorId: this.#id,
        workerId,
        number: slot.number,
        leaseMs: this.#parts.leaseMs,
        channel,
      }),
      ...(channel.kind === "pipe"
        ? { messages: { mark: channel.mark, onMessage: (message) => this.#hear(message) } }
        : {}),
      onOutput: (stream, line) => this.#relay.output(worker, stream, line),
    });
    worker.pid = child.pid;
    this.#guardian.add(child.pid, child);
    void this.#renewSoon();
    return { workerId, child };
  }

  ready(slot: WorkerSlot, message: ReadyMessage): void {
    const problem = checkReady(message, this.#parts.plan);
    if (problem !== undefined) this.#failStart(problem);
    else if (this.#slots.every((each) => each.isReady)) this.#allReady();
    this.#warnOfActing(message);
    this.#log().debug(`Worker ${slot.number} is ready`);
  }

  /** A program without the guard works, by the first call that acts becoming the loop; it is told once. */
  #warnOfActing({ caller }: ReadyMessage): void {
    if (caller === null || this.#warnedOfActing || this.#parts.plan.guardian.standalone) return;
    this.#warnedOfActing = true;
    this.#log().warn(
      `${
        callerPlace(caller) ?? this.#parts.plan.entrypoint
      } acts while the program is evaluated, and so in every ` +
        "worker: put it under `if (import.meta.main)`",
    );
  }

  diedEarly(slot: WorkerSlot, cause: ExitCause, stderr: string, times: number): void {
    if (this.#stopping !== undefined) return;
    const problem = describeEarlyDeath(slot.number, cause, stderr, this.#parts.plan);
    if (times >= EARLY_DEATHS) this.#failStart(new StartError(problem));
    else this.#log().error(problem.split("\n", 1)[0] ?? "");
  }

  #failStart(error: Error): void {
    // After the start nobody waits for this any more: then the log line is what there is.
    this.#log().error(error.message);
    this.#failedStart.abort(error);
  }

  async departed(slot: WorkerSlot, worker: SpawnedWorker, cause: ExitCause): Promise<void> {
    const { pid } = worker.child;
    await this.#guardian.killGroup(pid);
    this.#guardian.remove(pid);
    if (cause.code === 0) await this.#lastWordsOf(worker);
    else if (!slot.isCutOff && this.#stopping === undefined) {
      this.#log().warn(`Worker ${slot.number} (pid ${pid}) ended: ${this.#causeOf(worker, cause)}`);
    }
    const settling = this.#settle(slot, worker, cause);
    this.#settling.add(settling);
    settling.finally(() => this.#settling.delete(settling));
    // A replacement does not wait for a store that is away; a stop does, within its own limits.
    if (this.#stopping === undefined) await settlesWithin(settling, SETTLE_AGAIN_MS);
    else await settling;
  }

  /** By the broker they may still be on their way; a pipe has been read to its end by now. */
  async #lastWordsOf({ workerId }: SpawnedWorker): Promise<void> {
    if (this.#parts.plan.channel === "pipe") return;
    await settlesWithin(this.#relay.byeOf(workerId), BYE_MS);
  }

  #causeOf(worker: SpawnedWorker, cause: ExitCause): string {
    const uncaught = uncaughtFrom(worker.child.stderrTail);
    return uncaught === undefined ? cause.description : `${cause.description}: ${uncaught}`;
  }

  /** Never rejects: whatever is wrong is logged and tried again, and what a stop leaves is in its outcome. */
  async #settle(slot: WorkerSlot, worker: SpawnedWorker, cause: ExitCause): Promise<void> {
    const { queue, store, crashLimit } = this.#parts;
    const { signal } = this.#stopAsked;
    const departure = (): Departure =>
      slot.isCutOff && this.#stopping !== undefined
        ? { kind: "cut off", interrupted: this.#stopping.interrupted }
        : { kind: "died", cause: this.#causeOf(worker, cause), crashLimit };
    for (;;) {
      try {
        const settling = settleWorker(worker.workerId, departure(), { queue, store });
        // While the pool runs a store may take its time; once it stops, only so much.
        await Promise.race([settling, aborted(signal)]);
        this.#cutOff.push(...await closingCall(settling, SETTLE_MS));
        return;
      } catch (error) {
        const problem = `Cannot settle the tasks of Worker ${slot.number}: ${
          (error as Error).message
        }`;
        this.#trouble.say("settle", problem);
        if (this.#stopping !== undefined) {
          this.#unsettled.push(problem);
          return;
        }
        await sleep(SETTLE_AGAIN_MS, { signal });
      }
    }
  }

  // The bookkeeping of a second

  /** Renews now, or once more after the one under way. Troubles are logged, not thrown. */
  #renewSoon(): Promise<void> {
    if (this.#renewal !== undefined) {
      this.#renewAgain = true;
      return this.#renewal;
    }
    this.#renewal = (async () => {
      do {
        this.#renewAgain = false;
        await this.#renew().catch((error: Error) =>
          this.#trouble.say("renew", `Cannot renew the leases: ${error.message}`)
        );
      } while (this.#renewAgain);
      this.#renewal = undefined;
    })();
    return this.#renewal;
  }

  async #renew(): Promise<void> {
    const supervisorId = this.#id;
    const workerIds = this.#slots.flatMap((slot) => slot.livingId ?? []);
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
    for (const slot of this.#slots) {
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
    this.#log().warn("Taken for dead by another supervisor: replacing all workers under a new id");
    // What the broker may refuse comes before the new id is taken: under the old one the next renewal is told the
    // same, and this begins again.
    const [id, unsubscribe] = [uuid(), this.#unsubscribe];
    this.#unsubscribe = await this.#listen(id);
    this.#id = id;
    await Promise.all(
      this.#slots.map((slot) =>
        slot.livingId === undefined || slot.worker === undefined
          ? undefined
          : this.#guardian.killGroup(slot.worker.child.pid)
      ),
    );
    await this.#closing("end the former log subscription", unsubscribe);
    // Registers the new id, with the workers that it has by now.
    this.#renewAgain = true;
  }

  async #sweep(): Promise<void> {
    const { queue, store, pool } = this.#parts;
    try {
      await sweep({ supervisorId: this.#id, leaseMs: this.#leaseMs }, { queue, store, pool });
    } catch (error) {
      this.#trouble.say("sweep", `Cannot sweep: ${(error as Error).message}`);
    }
  }

  // The end

  /** Stops the workers: in good order while there is time, by force after it. Resolves when all are gone. */
  async stop(request: StopRequest): Promise<StopOutcome> {
    this.#stopping = request;
    this.#closingMs = CLOSING_MS;
    this.#stopAsked.abort();
    this.#leaseMs = Math.min(this.#leaseMs, DRAIN_LEASE_MS);
    void this.#renewSoon();
    // Telling takes a moment where the broker is away, and a stop that waits for nothing does not wait for that.
    const told = this.#tellToStop();
    const ended = Promise.all([told, ...this.#slots.map((slot) => slot.ended())]);
    const inTime = await this.#endedInTime(ended, request);
    const killed = inTime ? 0 : await this.#killWhatIsLeft();
    await ended;
    // Also of workers that went before the stop, while a store was away.
    await Promise.all(this.#settling);
    await this.#close();
    return { cutOff: this.#cutOff, killed, unsettled: this.#unsettled };
  }

  /** A line on each worker's standard input, and the broadcast to those that hear it: either can be lost. */
  async #tellToStop(): Promise<void> {
    await Promise.all([this.#broadcastStop(), ...this.#slots.map((slot) => slot.stop())]);
  }

  async #broadcastStop(): Promise<void> {
    if (this.#parts.plan.channel === "pipe") return;
    await this.#closing(
      "broadcast the stop",
      () => this.#parts.queue.publish({ kind: "stop", supervisorId: this.#id }, "stop"),
    );
  }

  async #endedInTime(ended: Promise<unknown>, { timeoutMs, force }: StopRequest): Promise<boolean> {
    const giveUp = new AbortController();
    const waited = sleep(timeoutMs, { signal: AbortSignal.any([force, giveUp.signal]) });
    const inTime = await Promise.race([ended.then(() => true), waited.then(() => false)]);
    giveUp.abort();
    return inTime;
  }

  async #killWhatIsLeft(): Promise<number> {
    const left = this.#slots.filter((slot) => slot.livingId !== undefined);
    for (const slot of left) slot.cutOff();
    await Promise.all(left.map((slot) => {
      const pid = slot.worker?.child.pid;
      return pid === undefined ? undefined : this.#guardian.killGroup(pid);
    }));
    return left.length;
  }

  async #close(): Promise<void> {
    await this.#closing("end the renewals", async () => {
      await Promise.all(this.#loops.map((stop) => stop()));
      await this.#renewal;
    });
    await this.#closing("strike this supervisor off", () => this.#parts.queue.deregister(this.#id));
    await this.#closing("end the log subscription", () => this.#unsubscribe());
    await this.#guardian.close();
  }

  /** A closing call: whatever becomes of it, the end goes on, and does not wait for a broker that is away. */
  async #closing(what: string, call: () => Promise<unknown>): Promise<void> {
    try {
      await closingCall(call(), this.#closingMs);
    } catch (error) {
      if (error instanceof ConnectionError) this.#closingMs = CLOSING_AWAY_MS;
      this.#log().warn(`Cannot ${what}: ${(error as Error).message}`);
    }
  }

  #log() {
    return supervisorLogger(this.#parts.pool);
  }
}

/** The end does not wait for a store that is away. */
function closingCall<T>(call: Promise<T>, ms: number): Promise<T> {
  return withDeadline(call, {
    ms,
    error: () => new ConnectionError(`no answer within ${ms / 1_000} s`, { retryable: true }),
  });
}
