/**
 * The supervisor: starts the workers, hears them, replaces those that end, and stops them.
 *
 * @module
 */
import type { ActivityStore } from "../activity/store.ts";
import type { Queue, Unsubscribe } from "../broker/broker.ts";
import { aborted, monotonicMs, settlesWithin, sleep } from "../clock.ts";
import type { Contact } from "../contact.ts";
import { StartError } from "../errors.ts";
import { supervisorLogger } from "../log/loggers.ts";
import { TroubleLog } from "../log/trouble.ts";
import { LogRelay } from "../log/relay.ts";
import { notingBrokerUse } from "../maintenance/broker_use.ts";
import { watchingForeignEntries } from "../maintenance/foreign_entries.ts";
import { mending } from "../maintenance/mend.ts";
import type { MaintenanceService } from "../maintenance/service.ts";
import { sweeping } from "../maintenance/sweep.ts";
import { ChildProcess } from "../process/child.ts";
import { type ExitCause, isLastWord } from "../process/exit_cause.ts";
import { keepTrying } from "../stores/keep_trying.ts";
import { Guardian } from "../process/guardian.ts";
import {
  CANNOT_START_MARK,
  decodeHolds,
  encodeBootRecord,
  READY_HINT,
  type ReadyMessage,
} from "../process/handshake.ts";
import type { Interrupted } from "../task/definition.ts";
import { ClosingCalls } from "./closing.ts";
import { Departures, type Settled } from "./departures.ts";
import { Registration } from "./registration.ts";
import {
  callerPlace,
  checkReady,
  describeAway,
  describeEarlyDeath,
  describeNotReady,
  type KeptFromStarting,
  keptFromStarting,
  lastingOutage,
} from "./start_problems.ts";
import { type SlotHost, type SpawnedWorker, type WorkerInfo, WorkerSlot } from "./worker_slot.ts";
import type { WorkerPlan } from "./worker_plan.ts";
import { HEAR_READY_MS } from "../stop_budget.ts";

/** How many early deaths of one worker end a start. */
const EARLY_DEATHS = 3;
/** Between two looks at how a start goes. */
const LOOK_MS = 250;

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
  /** How long a start tries to reach the stores, in milliseconds. */
  readonly connectMs: number;
  /** Contact with the stores. */
  readonly contacts: readonly Contact[];
  /** Notes in the database that the broker is in use. */
  readonly noteBrokerUse: () => Promise<unknown>;
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
export interface StopOutcome extends Settled {
  /** How many workers had to be killed. */
  readonly killed: number;
}

/** The supervisor of one pool, from one start to one stop. */
export class Supervisor implements SlotHost {
  readonly #parts: SupervisorParts;
  readonly #guardian: Guardian;
  readonly #relay: LogRelay;
  readonly #slots: readonly WorkerSlot[];
  readonly #closing = new ClosingCalls((message) => this.#log().warn(message));
  readonly #registration: Registration;
  readonly #maintenance: readonly MaintenanceService[];
  readonly #departures: Departures;
  readonly #failedStart = new AbortController();
  #hasStarted = false;
  #stopped: Promise<StopOutcome> | undefined;
  #allReady: () => void = () => {};
  #lastDeath: string | undefined;
  #warnedOfActing = false;
  #warnedOfNoTasks = false;

  private constructor(parts: SupervisorParts, guardian: Guardian) {
    const { pool, queue, store } = parts;
    this.#parts = parts;
    this.#guardian = guardian;
    const relay = new LogRelay({ pool, showPool: parts.showPool });
    this.#relay = relay;
    const slots = Array.from({ length: parts.numWorkers }, (_, n) => new WorkerSlot(n, this));
    this.#slots = slots;
    const trouble = new TroubleLog(() => this.#log(), () => this.#isAway);
    const registration = new Registration({
      pool,
      queue,
      slots,
      trouble,
      leaseMs: parts.leaseMs,
      listen: (supervisorId) => this.#listen(supervisorId),
      killGroup: (pid) => guardian.killGroup(pid),
      closing: this.#closing,
    });
    this.#registration = registration;
    const maintenance = {
      pool,
      queue,
      store,
      trouble,
      sweepMs: parts.sweepMs,
      registered: () => registration.lease,
    };
    this.#maintenance = [
      sweeping(maintenance),
      mending(maintenance),
      watchingForeignEntries(maintenance, () => registration.diagnostics),
      notingBrokerUse(maintenance, parts.noteBrokerUse),
    ];
    this.#departures = new Departures({
      pool,
      queue,
      store,
      guardian,
      relay,
      trouble,
      crashLimit: parts.crashLimit,
      channel: parts.plan.channel,
    });
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
    const { queue, connectMs: timeoutMs } = this.#parts;
    await keepTrying({
      address: `the queue '${queue.name}'`,
      connect: () => this.#registration.start(),
      giveUpAt: monotonicMs() + timeoutMs,
      timeoutMs,
      signal,
    });
    await Promise.all(this.#maintenance.map((service) => service.start()));
    const ready = new Promise<void>((resolve) => {
      this.#allReady = resolve;
    });
    for (const slot of this.#slots) slot.start();
    void this.#registration.renewSoon();
    await this.#readyOrFailed(ready, signal);
    this.#hasStarted = true;
  }

  async #readyOrFailed(ready: Promise<void>, signal: AbortSignal): Promise<void> {
    const failed = aborted(this.#failedStart.signal).then(() =>
      Promise.reject(this.#failedStart.signal.reason)
    );
    const outcome = Promise.race([ready, aborted(signal), failed]);
    const { startMs, connectMs, contacts } = this.#parts;
    const awayMs = () => Math.max(...contacts.map((contact) => contact.awayMs));
    const [from, awayBefore] = [monotonicMs(), awayMs()];
    // Workers wait for a store that is away, so the time that it is counts for the stores' patience and not for theirs.
    while (!await settlesWithin(outcome, LOOK_MS)) {
      const awaySince = awayMs() - awayBefore;
      if (monotonicMs() - from - awaySince > startMs) throw describeNotReady(this.#slots, startMs);
      const lost = contacts.find((contact) => contact.isAway)?.lastError;
      if (lost !== undefined && awaySince > connectMs) throw describeAway(lost, connectMs);
    }
    await outcome;
  }

  get #isAway(): boolean {
    return this.#parts.contacts.some((contact) => contact.isAway);
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
    const holds = decodeHolds(message);
    if (message === READY_HINT) void this.#registration.renewSoon();
    else if (holds !== undefined) {
      this.#slots.find((slot) => slot.livingId === holds.workerId)?.holds(holds.ids);
    } else this.#relay.receive(message);
  }

  // The slots' host

  spawn(slot: WorkerSlot, spawnNumber: number): SpawnedWorker {
    const { plan } = this.#parts;
    const { supervisorId } = this.#registration;
    const workerId = `${supervisorId}/${slot.number}/${spawnNumber}`;
    const worker = { workerId, number: slot.number, pid: 0 };
    let isDying = false;
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
        supervisorId,
        workerId,
        number: slot.number,
        // Once the pool runs, nobody waits for a worker, and it may wait as those do that have started.
        connectMs: this.#hasStarted ? null : this.#parts.connectMs,
        channel,
      }),
      ...(channel.kind === "pipe"
        ? { messages: { mark: channel.mark, onMessage: (message) => this.#hear(message) } }
        : {}),
      onOutput: (stream, line) => {
        // The error that ends a worker before it is ready is told by `diedEarly`, once for all workers.
        if (stream === "stderr" && !slot.hasBeenReady) {
          isDying ||= isLastWord(line) || line.startsWith(CANNOT_START_MARK);
        }
        if (stream === "stdout" || !isDying) this.#relay.output(worker, stream, line);
      },
    });
    worker.pid = child.pid;
    this.#guardian.add(child.pid, child);
    void this.#registration.renewSoon();
    return { workerId, child };
  }

  accepts(slot: WorkerSlot, message: ReadyMessage): boolean {
    const mismatch = checkReady(message, this.#parts.plan);
    if (mismatch === undefined) return true;
    const { reason, isUsable } = mismatch;
    if (!this.#hasStarted) {
      this.#failStart(new StartError(`Cannot start pool '${this.#parts.pool}': ${reason}`));
    } else if (isUsable) {
      // The program was changed under a running pool: who knows more than it has to is none the worse for it.
      this.#log().warn(`Worker ${slot.number} is not as this process: ${reason}`);
    } else {
      this.#log().error(`Cannot use Worker ${slot.number}, starting it again: ${reason}`);
    }
    return isUsable;
  }

  ready(slot: WorkerSlot, message: ReadyMessage): void {
    const { aborted: failed } = this.#failedStart.signal;
    if (!failed && this.#slots.every((each) => each.isReady)) this.#allReady();
    this.#warnOfActing(message);
    this.#warnOfNoTasks(message);
    this.#log().debug(`Worker ${slot.number} is ready`);
  }

  #warnOfNoTasks({ tasks }: ReadyMessage): void {
    if (tasks.length > 0 || this.#warnedOfNoTasks) return;
    this.#warnedOfNoTasks = true;
    this.#log().warn(
      `Pool '${this.#parts.pool}' has no tasks, so its workers run nothing: declare them with pool.task() at the top ` +
        `level of ${this.#parts.plan.entrypoint}`,
    );
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
    if (this.#stopped !== undefined) return;
    const kept = keptFromStarting(stderr);
    if (kept !== undefined) return this.#keptFromStarting(slot, kept);
    const death = describeEarlyDeath(slot.number, cause, stderr, this.#parts.plan);
    const failed = this.#failedStart.signal.aborted;
    if (!this.#hasStarted && (times >= EARLY_DEATHS || death.isCertain)) {
      const isTold = death.cause === this.#lastDeath;
      if (!failed) this.#failStart(new StartError(death.report), { isTold });
      return;
    }
    // Workers of one program die of one cause: it is told once, until another comes between.
    if (death.cause === this.#lastDeath) return;
    this.#lastDeath = death.cause;
    this.#log().error(this.#hasStarted ? death.report : death.problem);
  }

  /** Something other than the program's code: a store that the worker waited for as long as the start does. */
  #keptFromStarting(slot: WorkerSlot, { message, isConnection }: KeptFromStarting): void {
    const problem = `Cannot start Worker ${slot.number}: ${message}`;
    if (!this.#hasStarted) {
      if (this.#failedStart.signal.aborted) return;
      return this.#failStart(isConnection ? lastingOutage(problem) : new StartError(problem));
    }
    if (message === this.#lastDeath) return;
    this.#lastDeath = message;
    this.#log().error(problem);
  }

  /** Its caller gets the whole error; the log has the line that says which worker, why, and what to change, once. */
  #failStart(error: Error, { isTold = false } = {}): void {
    if (!isTold) this.#log().error(error.message.split("\n", 1)[0] ?? "");
    this.#failedStart.abort(error);
  }

  departed(slot: WorkerSlot, worker: SpawnedWorker, cause: ExitCause): Promise<void> {
    return this.#departures.departed(slot, worker, cause);
  }

  // The end

  /**
   * Stops the workers: in good order while there is time, by force after it. Resolves when all are gone. Asked again, it
   * waits for the same end.
   */
  stop(request: StopRequest): Promise<StopOutcome> {
    return this.#stopped ??= this.#end(request);
  }

  async #end(request: StopRequest): Promise<StopOutcome> {
    this.#departures.stop(request.interrupted);
    const heard = this.#hearReady(request);
    // Telling takes a moment where the broker is away, and a stop that waits for nothing does not wait for that.
    const told = this.#tellToStop(heard);
    const ended = Promise.all([told, ...this.#slots.map((slot) => slot.ended())]);
    const inTime = await this.#inTime(ended, request);
    // While what is left is killed and settled: a forced stop has no time for one after the other.
    const resting = Promise.all([
      this.#registration.rest(),
      this.#closing.call(
        "end the maintenance",
        () => Promise.all(this.#maintenance.map((service) => service.stop())),
      ),
    ]);
    const killed = inTime ? 0 : await this.#killWhatIsLeft();
    await ended;
    const settled = await this.#departures.settled();
    await resting;
    await this.#registration.stop();
    this.#relay.close();
    await this.#guardian.close();
    return { ...settled, killed };
  }

  /** Resolves when a worker that is ready is known to be, and may finish the task that it took up since. */
  async #hearReady({ timeoutMs, force }: StopRequest): Promise<void> {
    await this.#inTime(this.#registration.drain(), {
      timeoutMs: Math.min(timeoutMs, HEAR_READY_MS),
      force,
    });
  }

  /** A line on each worker's standard input, and the broadcast to those that hear it: either can be lost. */
  async #tellToStop(heard: Promise<void>): Promise<void> {
    await Promise.all([
      this.#broadcastStop(),
      ...this.#slots.map((slot) => slot.stop(heard)),
    ]);
  }

  async #broadcastStop(): Promise<void> {
    const { plan, queue } = this.#parts;
    const { supervisorId } = this.#registration;
    if (plan.channel === "pipe") return;
    await this.#closing.call(
      "broadcast the stop",
      () => queue.publish({ kind: "stop", supervisorId }, "stop"),
    );
  }

  /** Whether something comes to its end before the time is up, or the stop is forced. */
  async #inTime(
    end: Promise<unknown>,
    { timeoutMs, force }: Pick<StopRequest, "timeoutMs" | "force">,
  ): Promise<boolean> {
    const giveUp = new AbortController();
    const waited = sleep(timeoutMs, { signal: AbortSignal.any([force, giveUp.signal]) });
    const inTime = await Promise.race([end.then(() => true), waited.then(() => false)]);
    giveUp.abort();
    return inTime;
  }

  async #killWhatIsLeft(): Promise<number> {
    this.#departures.force();
    const left = this.#slots.filter((slot) => slot.livingId !== undefined);
    for (const slot of left) slot.cutOff();
    await Promise.all(left.map((slot) => {
      const pid = slot.worker?.child.pid;
      return pid === undefined ? undefined : this.#guardian.killGroup(pid);
    }));
    return left.length;
  }

  #log() {
    return supervisorLogger(this.#parts.pool);
  }
}
