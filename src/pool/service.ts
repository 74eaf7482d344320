/**
 * A pool's work from one start to the end of its stop.
 *
 * @module
 */
import { noteBrokerUse } from "../stores/broker_use.ts";
import type { Stores } from "../stores/stores.ts";
import { aborted, monotonicMs } from "../clock.ts";
import { keepTrying } from "../stores/keep_trying.ts";
import { showBroker, showDatabase } from "../addresses.ts";
import { activityMessages } from "../config.ts";
import { ensureDefaultConfig } from "../log/console_sink.ts";
import { contactLog } from "../log/contact_log.ts";
import { supervisorLogger } from "../log/loggers.ts";
import { declaredPools } from "../task/declared.ts";
import type { Interrupted, Task } from "../task/definition.ts";
import { refuseMissingRights } from "./missing_rights.ts";
import type { PoolSettings } from "./options.ts";
import type { StopSignals } from "./signals.ts";
import { type StopOutcome, Supervisor } from "./supervisor.ts";
import { planWorkers } from "./worker_plan.ts";
import type { WorkerInfo } from "./worker_slot.ts";

/**
 * What a stop of a pool came to.
 *
 * @example
 * ```ts
 * import { Pool, type ShutdownReport } from "@agentexec/core";
 *
 * async function stop(pool: Pool) {
 *   const report: ShutdownReport = await pool.shutdown({ timeout: { seconds: 30 } });
 *   if (!report.drained) console.warn(`cut off: ${report.cutOff.join(", ")}`);
 * }
 * ```
 */
export interface ShutdownReport {
  /** Whether every worker finished what it ran and ended by itself. */
  readonly drained: boolean;
  /** The ids of the tasks that were cut off. */
  readonly cutOff: readonly string[];
}

/** What a service is made of. */
export interface ServiceParts {
  /** The pool's settings. */
  readonly settings: PoolSettings;
  /** Its connections. */
  readonly stores: Stores;
  /** Its tasks. */
  readonly tasks: ReadonlyMap<string, Task>;
  /** Called when nothing of it is left. */
  readonly onEnd: () => void;
}

/** How to stop. */
export interface ServiceStop {
  /** How long to wait for what runs, in milliseconds. */
  readonly timeoutMs: number;
  /** What becomes of what is cut off; undefined for what the task or the pool says. */
  readonly interrupted?: Interrupted | undefined;
}

/** A start under way, a running pool, or a stop under way. */
export class Service {
  readonly #parts: ServiceParts;
  readonly #supervisor: Promise<Supervisor>;
  /** Ends a start under way. */
  readonly #cancelStart = new AbortController();
  /** Ends the wait of a stop under way. */
  readonly #force = new AbortController();
  readonly #ended = Promise.withResolvers<void>();
  #running: Supervisor | undefined;
  #undoLogging: (() => Promise<void>) | undefined;
  #stop: Promise<ShutdownReport> | undefined;
  #isOver = false;

  /** Starts. */
  constructor(parts: ServiceParts) {
    this.#parts = parts;
    parts.stores.serve(parts.settings.queueName);
    this.#supervisor = Promise.resolve().then(() => this.#startOrForget());
  }

  /** The workers; none before all of them are ready. */
  get workers(): readonly WorkerInfo[] {
    return this.#running?.workers ?? [];
  }

  /** Whether it is to end. */
  get isStopping(): boolean {
    return this.#stop !== undefined;
  }

  /** Resolves when all workers are ready; rejects where they do not get so, or a stop came first. */
  async started(): Promise<void> {
    await this.#supervisor;
    this.#cancelStart.signal.throwIfAborted();
  }

  /** Ends the start, or the pool, and says how it went. Asked again, it waits for the same end, which 0 ms force. */
  stop(request: ServiceStop): Promise<ShutdownReport> {
    if (this.#stop !== undefined && request.timeoutMs === 0) this.#force.abort();
    return this.#stop ??= this.#end(request);
  }

  /** Stops at a signal. Resolves when it has ended, by a signal or otherwise. */
  async stopAt(signals: StopSignals): Promise<void> {
    const { gracefulShutdownTimeoutMs } = this.#parts.settings;
    await Promise.race([aborted(signals.asked), this.#ended.promise]);
    if (!signals.asked.aborted) return;
    this.#log().info(
      `Stopping: running tasks have ${
        gracefulShutdownTimeoutMs / 1_000
      } s to finish; a second signal ` +
        `stops them now`,
    );
    signals.forced.addEventListener("abort", () => this.#force.abort(), { once: true });
    const report = await this.stop({ timeoutMs: gracefulShutdownTimeoutMs });
    if (!report.drained) Deno.exitCode = 1;
  }

  /** A start that fails leaves nothing behind: its caller gets the error after that. */
  async #startOrForget(): Promise<Supervisor> {
    this.#undoLogging = await ensureDefaultConfig();
    try {
      return this.#running = await this.#start(this.#cancelStart.signal);
    } catch (error) {
      await this.#forget();
      throw error;
    }
  }

  async #start(signal: AbortSignal): Promise<Supervisor> {
    const { settings, stores, tasks } = this.#parts;
    const log = this.#log();
    stores.hold();
    await refuseMissingRights(settings, stores);
    if (stores.embeddedNote !== undefined) log.info(stores.embeddedNote);
    // First what needs nobody else: an option that will not do is not to be told after the whole connectTimeout.
    const plan = await planWorkers({
      settings,
      broker: stores.brokerAddress,
      database: stores.databaseAddress,
      foreignDatabase: stores.isForeign,
      tablePrefix: stores.tablePrefix,
      messages: activityMessages(),
      tasks: [...tasks.keys()],
    });
    for (const warning of plan.warnings) log.warn(warning);
    for (const note of plan.notes) log.info(note);
    stores.watch({
      broker: contactLog(showBroker(stores.brokerAddress), () => this.#log()),
      database: contactLog(showDatabase(stores.databaseAddress), () => this.#log()),
    });
    const timeoutMs = settings.connectTimeoutMs;
    const patience = { timeoutMs, giveUpAt: monotonicMs() + timeoutMs, signal };
    await stores.connect({ timeoutMs, signal });
    const queue = await keepTrying({
      ...patience,
      address: showBroker(stores.brokerAddress),
      connect: () => stores.ownQueue(settings.queueName),
    });
    const store = await keepTrying({
      ...patience,
      address: showDatabase(stores.databaseAddress),
      connect: () => stores.activity(),
    });
    if (queue === undefined || store === undefined) throw signal.reason;
    const { name, numWorkers, leaseMs, crashLimit } = settings;
    return await Supervisor.start({
      pool: name,
      showPool: declaredPools().size > 1,
      queue,
      store,
      plan,
      numWorkers,
      leaseMs,
      sweepMs: settings.sweepIntervalMs,
      startMs: settings.startTimeoutMs,
      crashLimit,
      connectMs: timeoutMs,
      contacts: stores.contacts,
      noteBrokerUse: () => noteBrokerUse(stores, settings.queueName),
    }, signal);
  }

  async #end({ timeoutMs, interrupted }: ServiceStop): Promise<ShutdownReport> {
    this.#cancelStart.abort(
      new DOMException("The pool was shut down while it started", "AbortError"),
    );
    let outcome: StopOutcome = { cutOff: [], killed: 0, unsettled: [] };
    const supervisor = await this.#supervisor.catch(() => undefined);
    if (supervisor !== undefined) {
      const { tasks, settings } = this.#parts;
      outcome = await supervisor.stop({
        timeoutMs,
        force: this.#force.signal,
        interrupted: (name) =>
          interrupted ?? tasks.get(name)?.definition.interrupted ?? settings.interrupted,
      });
      this.#report(outcome);
    }
    await this.#forget();
    return {
      drained: outcome.killed + outcome.cutOff.length + outcome.unsettled.length === 0,
      cutOff: outcome.cutOff,
    };
  }

  #report({ cutOff, killed, unsettled }: StopOutcome): void {
    const log = this.#log();
    if (killed > 0) {
      log.warn(
        `Killed ${
          killed === 1 ? "one worker" : `${killed} workers`
        } that had not finished; cut off: ${cutOff.join(", ") || "nothing"}`,
      );
    }
    for (const problem of unsettled) {
      log.error(`${problem}; another supervisor, or the next start, settles it`);
    }
  }

  /** A start that failed has been forgotten by the time that a stop comes to it. */
  async #forget(): Promise<void> {
    if (this.#isOver) return;
    try {
      await this.#parts.stores.disconnect();
      await this.#undoLogging?.();
    } finally {
      // Only now: until then another stop waits for this one, and nothing starts on connections that close.
      this.#isOver = true;
      this.#running = undefined;
      this.#parts.onEnd();
      this.#ended.resolve();
    }
  }

  #log() {
    return supervisorLogger(this.#parts.settings.name);
  }
}
