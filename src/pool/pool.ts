/**
 * The pool: what a program declares, and how it asks for workers.
 *
 * @module
 */
import { Client, storesOf } from "../client/client.ts";
import { CLIENT_OPTIONS } from "../client/client_options.ts";
import { type Duration, toMilliseconds } from "../clock.ts";
import { AgentexecError } from "../errors.ts";
import { ensureDefaultConfig } from "../log/console_sink.ts";
import { contactLog } from "../log/contact_log.ts";
import { supervisorLogger } from "../log/loggers.ts";
import { checkOptions } from "../options.ts";
import {
  beforeSupervising,
  provideWorkerLoop,
  type Role,
  role,
  workerConnections,
} from "../program/role.ts";
import type { ContextSchema } from "../task/context.ts";
import { currentTaskOrUndefined } from "../task/current.ts";
import { type DeclaredPool, declarePool, undeclarePool } from "../task/declared.ts";
import {
  checkDefinition,
  defineTask,
  type FittingHandler,
  type Interrupted,
  type NoSchema,
  type Task,
  type TaskDefinition,
  type TaskOptions,
} from "../task/definition.ts";
import { checkHandler } from "../task/handler.ts";
import { listenForDenied, stopListeningForDenied } from "./import_hint.ts";
import { POOL_TABLE, type PoolOptions, type PoolSettings, readPoolOptions } from "./options.ts";
import { refuseMissingDatabaseRights } from "./missing_rights.ts";
import { Service, type ShutdownReport } from "./service.ts";
import { StopSignals } from "./signals.ts";
import { entrypointOf } from "./worker_plan.ts";
import type { WorkerInfo } from "./worker_slot.ts";

// Also what puts the workers' modules into the program's module graph, and so into a user's cache.
provideWorkerLoop(async (options) => {
  const { runWorker } = await import("../worker/worker.ts");
  await runWorker(options);
});
listenForDenied();
/** Never called: the main module of workers has to stand in the module graph too. */
export function workerMain(): Promise<unknown> {
  return import("../worker/main.ts");
}

/**
 * Options of {@linkcode Pool.start}.
 *
 * @example
 * ```ts
 * import { Pool, type StartOptions } from "@agentexec/core";
 *
 * const withSignals: StartOptions = { signals: true };
 *
 * async function start(pool: Pool) {
 *   await pool.start(withSignals);
 * }
 * ```
 */
export interface StartOptions {
  /**
   * Whether SIGTERM, SIGINT and SIGHUP stop the pool, as they do under `run()`.
   *
   * @default {false} (signals stay the program's own)
   */
  readonly signals?: boolean;
}

/**
 * Options of {@linkcode Pool.shutdown}.
 *
 * @example
 * ```ts
 * import { Pool, type ShutdownOptions } from "@agentexec/core";
 *
 * const atOnce: ShutdownOptions = { timeout: { seconds: 0 }, interrupted: "cancel" };
 *
 * async function stop(pool: Pool) {
 *   await pool.shutdown(atOnce);
 * }
 * ```
 */
export interface ShutdownOptions {
  /**
   * How long to wait for running tasks; zero waits for none.
   *
   * @default {the pool's `gracefulShutdownTimeout`}
   */
  readonly timeout?: Duration;
  /**
   * Whether tasks that are cut off go back to the head of the queue, or are canceled.
   *
   * @default {the task definition's `interrupted`, else the pool's}
   */
  readonly interrupted?: Interrupted;
}

let reveal: (pool: Pool) => PoolSettings;

/** The settings of a pool, for what is built upon it. */
export function settingsOf(pool: Pool): PoolSettings {
  return reveal(pool);
}

/**
 * A pool of worker processes for the tasks it declares. It has all that a {@linkcode Client} has too.
 *
 * Every process of the program evaluates its module, the workers as well: declare pools and tasks at the
 * top level, and put what acts under `if (import.meta.main)`.
 *
 * @example
 * ```ts
 * import { defineTask, Pool } from "@agentexec/core";
 * import { z } from "zod";
 *
 * const research = defineTask("research_company", {
 *   context: z.object({ company: z.string() }),
 *   result: z.object({ summary: z.string() }),
 * });
 *
 * export const pool = new Pool({
 *   brokerUrl: "redis://localhost:6379",
 *   databaseUrl: "postgres://localhost/agents",
 *   permissions: { net: ["api.openai.com"], env: ["OPENAI_API_KEY"] },
 * });
 *
 * pool.task(research, async ({ context, activity }) => {
 *   await activity.update(`Reading about ${context.company}`, { percentage: 10 });
 *   return { summary: `${context.company} makes things` };
 * });
 *
 * async function main() {
 *   await pool.run(); // blocks until SIGTERM or Ctrl+C
 * }
 * ```
 */
export class Pool extends Client {
  readonly #settings: PoolSettings;
  readonly #tasks = new Map<string, Task>();
  readonly #declared: DeclaredPool;
  /** From one start to the end of its stop. */
  #service: Service | undefined;
  #started = false;

  static {
    reveal = (pool) => pool.#settings;
  }

  /**
   * Declares a pool. Connects to nothing.
   *
   * @param options What it is and what its workers may do.
   * @throws {TypeError} If an option is unknown or of the wrong type.
   * @throws {RangeError} If a value is out of range.
   * @throws {ConfigError} If there is a pool of its name already, or an address cannot be used.
   */
  constructor(options: PoolOptions = {}) {
    checkOptions("make a pool", options, Object.keys(POOL_TABLE));
    const own = Object.fromEntries(
      Object.entries(options).filter(([name]) => CLIENT_OPTIONS.includes(name)),
    );
    super(own);
    this.#settings = readPoolOptions(options);
    if (this.#settings.entrypoint !== undefined) {
      storesOf(this).locate(new URL(entrypointOf(this.#settings.entrypoint)));
    }
    this.#declared = {
      name: this.name,
      queueName: this.#settings.queueName,
      tasks: this.#tasks,
      ...(options.db === undefined ? {} : { openDatabase: options.db }),
    };
    declarePool(this.#declared);
  }

  /** The pool's name. */
  get name(): string {
    return this.#settings.name;
  }

  /** Which side this process is on: it declares and supervises, or it is one of the workers. */
  get role(): Role {
    return role;
  }

  /** The tasks by name. */
  get tasks(): ReadonlyMap<string, Task> {
    return this.#tasks;
  }

  /** The workers, as they are now; empty while the pool does not run. */
  get workers(): readonly WorkerInfo[] {
    return this.#service?.workers ?? [];
  }

  /**
   * Declares a task of this pool: a definition and what runs it.
   *
   * @param definition What {@linkcode defineTask} made.
   * @param handler What runs it.
   * @returns The definition, for `enqueue`.
   * @throws {TypeError} If it is no definition, or the handler no function that a call runs: a generator, a class.
   * @throws {AgentexecError} If there is a task of its name, it is of another queue, or the pool has started.
   */
  task<
    Context extends ContextSchema | NoSchema,
    Result extends ContextSchema | NoSchema,
    Returned,
  >(
    definition: TaskDefinition<Context, Result>,
    handler: FittingHandler<Context, Result, Returned>,
  ): TaskDefinition<Context, Result>;
  /**
   * Declares a task of this pool without a context.
   *
   * @param name The task's name.
   * @param handler What runs it.
   * @returns The definition, for `enqueue`.
   */
  task<Returned>(
    name: string,
    handler: FittingHandler<NoSchema, NoSchema, Returned>,
  ): TaskDefinition<NoSchema, NoSchema>;
  /**
   * Declares a task of this pool, in one call.
   *
   * @param name The task's name.
   * @param options Its schemas and behaviour.
   * @param handler What runs it.
   * @returns The definition, for `enqueue`.
   */
  task<
    Context extends ContextSchema | NoSchema = NoSchema,
    Result extends ContextSchema | NoSchema = NoSchema,
    Returned = unknown,
  >(
    name: string,
    options: TaskOptions<Context, Result>,
    handler: FittingHandler<Context, Result, Returned>,
  ): TaskDefinition<Context, Result>;
  task(
    nameOrDefinition: string | TaskDefinition,
    ...rest: readonly unknown[]
  ): TaskDefinition {
    const named = typeof nameOrDefinition === "string";
    if (!named) checkDefinition(nameOrDefinition);
    const handler = checkHandler(named ? nameOrDefinition : nameOrDefinition.name, rest.at(-1));
    const options = rest.length > 1 ? rest[0] as TaskOptions : {};
    const definition = named ? defineTask(nameOrDefinition, options) : nameOrDefinition;
    this.#refuseTask(definition);
    this.#tasks.set(definition.name, { definition, handler });
    return definition;
  }

  #refuseTask({ name, queue }: TaskDefinition): void {
    if (this.#tasks.has(name)) {
      throw new AgentexecError(
        `Cannot declare task '${name}': pool '${this.name}' has a task of that name`,
      );
    }
    const own = this.#settings.queueName;
    if (queue !== undefined && queue !== own) {
      throw new AgentexecError(
        `Cannot declare task '${name}': its queue is '${queue}', that of pool '${this.name}' is '${own}'`,
      );
    }
    if (this.#started || workerConnections() !== undefined) {
      throw new AgentexecError(
        `Cannot declare task '${name}': pool '${this.name}' has started, its workers would not know it; declare ` +
          `tasks at the top level of the module, before any call that acts`,
      );
    }
  }

  /**
   * Makes the library's tables, or brings them up to this version. Waits for a database that is away, as the start
   * does.
   *
   * @throws {ConnectionError} If it cannot be reached within `connectTimeout`, or refuses.
   * @throws {MigrationError} If tables of these names are another program's.
   */
  override async migrate(): Promise<void> {
    if (role === "worker") return await super.migrate();
    const stores = storesOf(this);
    if (!stores.isReplaced) await refuseMissingDatabaseRights(this.#settings, stores);
    const undoLogging = await ensureDefaultConfig();
    try {
      await stores.connectDatabase({
        timeoutMs: this.#settings.connectTimeoutMs,
        listener: (address) => contactLog(address, () => supervisorLogger(this.name)),
      });
      await super.migrate();
    } finally {
      await undoLogging();
    }
  }

  /**
   * Starts the workers. Resolves when all of them are ready; the program goes on, and ends the pool by
   * {@linkcode Pool.shutdown}. May be called again after that.
   *
   * @param options Whether signals stop the pool.
   * @throws {StartError} If the workers do not get ready.
   * @throws {ConnectionError} If broker or database cannot be reached within `connectTimeout`, or refuse.
   * @throws {MigrationError} If the database has not been migrated.
   * @throws {IncompatibleError} If the queue or the tables are another program's.
   * @throws {ConfigError} If something is not configured, or this process lacks a permission.
   */
  async start(options: StartOptions = {}): Promise<void> {
    checkOptions("start the pool", options, ["signals"]);
    await this.#beforeStarting();
    if (this.#service !== undefined) {
      const state = this.#service.isStopping ? "it is being stopped" : "it has started already";
      throw new AgentexecError(`Cannot start pool '${this.name}': ${state}`);
    }
    const service = this.#begin();
    if (options.signals === true) {
      const signals = new StopSignals();
      service.stopAt(signals)
        // Nobody waits for it: rethrown, it would end the program in the middle of the stop.
        .catch((error) => supervisorLogger(this.name).error(`Cannot stop: ${error.message}`))
        .finally(() => signals.close());
    }
    await service.started();
  }

  /**
   * Starts the workers, unless `start()` did, and blocks until a signal (SIGTERM, SIGINT, SIGHUP) has
   * stopped them in good order. Sets the program's exit code to 1 where a worker had to be killed or a task could
   * not be settled. A second signal, more than a second after the first, forces the stop.
   *
   * @throws {StartError} As {@linkcode Pool.start} does, and all that it throws.
   */
  async run(): Promise<void> {
    await this.#beforeStarting();
    const signals = new StopSignals();
    try {
      const service = this.#service ?? this.#begin();
      const stopped = service.stopAt(signals);
      try {
        await service.started();
      } catch (error) {
        if (!signals.asked.aborted && !service.isStopping) throw error;
      }
      await stopped;
    } finally {
      signals.close();
    }
  }

  /**
   * Stops the pool: workers finish what they run and take nothing new; what runs longer than the timeout is cut
   * off. Resolves when no process of the pool is left and nothing of the library keeps the program alive.
   * Does nothing where the pool does not run; called again, it waits for the same stop.
   *
   * @param options How long to wait, and what becomes of what is cut off.
   * @returns Whether all drained, and what was cut off.
   */
  async shutdown(options: ShutdownOptions = {}): Promise<ShutdownReport> {
    checkOptions("shut the pool down", options, ["timeout", "interrupted"]);
    const timeoutMs = options.timeout === undefined
      ? this.#settings.gracefulShutdownTimeoutMs
      : toMilliseconds(options.timeout, "timeout");
    const interrupted = options.interrupted === undefined
      ? undefined
      : POOL_TABLE.interrupted.read(options.interrupted, "interrupted");
    return await this.#service?.stop({ timeoutMs, interrupted }) ?? { drained: true, cutOff: [] };
  }

  /** Shuts the pool down, closes its connections for good, and frees its name. */
  override async close(): Promise<void> {
    await this.shutdown();
    await super.close();
    undeclarePool(this.#declared);
  }

  async #beforeStarting(): Promise<void> {
    if (role === "worker" && currentTaskOrUndefined() !== undefined) {
      throw new AgentexecError(
        `Cannot start pool '${this.name}': this handler runs in a worker, and workers start no pools`,
      );
    }
    await beforeSupervising();
  }

  #begin(): Service {
    this.#started = true;
    stopListeningForDenied();
    return this.#service = new Service({
      settings: this.#settings,
      stores: storesOf(this),
      tasks: this.#tasks,
      onEnd: () => {
        this.#service = undefined;
      },
    });
  }
}
