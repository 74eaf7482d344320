/**
 * A producer: puts tasks in, follows them, cancels them, reads activities.
 *
 * @module
 */
import type { Kysely } from "kysely";
import { checkMetadataFilter } from "../activity/filters.ts";
import type { ActivityDatabase } from "../activity/schema.ts";
import type { Depth } from "../broker/broker.ts";
import { checkName, CONF } from "../config.ts";
import { checkOptions } from "../options.ts";
import { beforeActing, beforeSupervising, workerConnections } from "../program/role.ts";
import type { ContextSchema } from "../task/context.ts";
import { currentTaskOrUndefined } from "../task/current.ts";
import {
  checkDefinition,
  type InputOf,
  type NoSchema,
  type ResultOf,
  type TaskDefinition,
} from "../task/definition.ts";
import { type ActivityApi, activityApi } from "./activity_api.ts";
import { type CancelOutcome, cancelTask } from "../lifecycle/cancel_task.ts";
import {
  cancelPending,
  type CancelPendingReport,
  type CancelScope,
} from "../lifecycle/cancel_pending.ts";
import { type ClientOptions, type ClientSettings, readClientOptions } from "./client_options.ts";
import { enqueueMany, enqueueOne, type EnqueueTarget } from "./enqueue.ts";
import { checkAgentId, type EnqueueManyOptions, type EnqueueOptions } from "./enqueue_options.ts";
import { type TaskHandle, taskHandle, type TaskHandleOptions } from "./handle.ts";
import { readResults, type TaskResult } from "./results.ts";
import { Stores } from "../stores/stores.ts";

/**
 * Options of {@linkcode Client.cancelPending}.
 *
 * @example
 * ```ts
 * import { type CancelPendingOptions, Client } from "@agentexec/core";
 *
 * const everything: CancelPendingOptions = { scope: "queue" };
 * await using client = new Client();
 * const { canceled, otherBrokers } = await client.cancelPending(everything);
 * console.log(`${canceled} tasks canceled, ${otherBrokers} left to other brokers`);
 * ```
 */
export interface CancelPendingOptions {
  /**
   * `"abandoned"`: running tasks whose worker is dead, and tasks that were recorded more than 30 s ago and
   * that the broker does not know. `"queue"`: everything of the queue on every host.
   *
   * Either way tasks of other brokers on the same database are left alone as long as somebody uses these: supervisors
   * say so once a minute, clients when they enqueue, and a broker counts as used for 5 minutes after that. One that
   * nobody ever spoke of is first left alone for 5 minutes too.
   *
   * @default {"abandoned"}
   */
  readonly scope?: CancelScope | undefined;
}

/**
 * A Kysely that knows the library's tables by the prefix `agentexec_`. For the program's own tables, or another
 * prefix, extend it: `client.db.$extendTables<MyTables>()`.
 *
 * @example
 * ```ts
 * import type { ActivityDatabase, ClientDatabase } from "@agentexec/core";
 *
 * async function running(db: ClientDatabase) {
 *   return await db.$extendTables<ActivityDatabase<"my_">>().selectFrom("my_activity")
 *     .select("agent_id").where("status", "=", "running").execute();
 * }
 * ```
 */
export type ClientDatabase = ActivityKysely;

/** @internal */
type ActivityKysely = Kysely<ActivityDatabase>;

export type { ClientOptions } from "./client_options.ts";

let reveal: (client: Client) => Stores;

/** The connections of a client, for what is built upon it. */
export function storesOf(client: Client): Stores {
  return reveal(client);
}

/**
 * A producer: enqueues tasks, follows and cancels them, and reads activities, in any process. It runs no
 * workers. Connections are made by the first call that needs them; `close()` ends them.
 *
 * In a worker, a client uses its supervisor's broker and database, whatever its options say.
 *
 * @example
 * ```ts
 * import { Client, defineTask } from "@agentexec/core";
 * import { z } from "zod";
 *
 * const research = defineTask("research_company", {
 *   context: z.object({ company: z.string() }),
 *   result: z.object({ summary: z.string() }),
 * });
 *
 * await using client = new Client();
 * const task = await client.enqueue(research, { company: "Acme" }, { metadata: { org: "o-1" } });
 * const { summary } = await task.result({ timeout: { minutes: 10 } });
 * console.log(summary);
 * ```
 */
export class Client {
  readonly #settings: ClientSettings;
  readonly #stores: Stores;
  /** Activities: what became of tasks, and records of the program's own. */
  readonly activity: ActivityApi;

  static {
    reveal = (client) => client.#stores;
  }

  /**
   * Checks the options; makes no connection.
   *
   * @param options Where the stores are, and which queue to use.
   * @throws {TypeError} If an option is unknown or of the wrong type.
   * @throws {RangeError} If one is a name or number that is not allowed.
   * @throws {ConfigError} If an address or prefix is not allowed.
   */
  constructor(options: ClientOptions = {}) {
    this.#settings = readClientOptions(options);
    this.#stores = new Stores(this.#settings);
    this.activity = activityApi(this.#stores, this.#limits);
  }

  /**
   * A Kysely on the client's database, for the program's own statements: it reads the library's tables beside the
   * program's. It opens up to 4 connections of its own at its first statement, and they are closed with the client. In
   * a worker it reaches the worker's database; with a test kit attached, the kit's. It is typed by
   * {@linkcode ActivityDatabase}; `$extendTables` adds the tables of the program.
   *
   * The option `db` makes this one too.
   *
   * @throws {AgentexecError} If the client was closed.
   *
   * @example Count exactly, and join a table of the program
   * ```ts
   * import { Client } from "@agentexec/core";
   *
   * type MyTables = { company: { id: string; agent_id: string } };
   *
   * await using client = new Client();
   * const totals = await client.db.selectFrom("agentexec_activity")
   *   .select(({ fn }) => ["status", fn.countAll().as("count")])
   *   .groupBy("status").execute();
   * const db = client.db.$extendTables<MyTables>();
   * const running = await db.selectFrom("company")
   *   .innerJoin("agentexec_activity as task", "task.agent_id", "company.agent_id")
   *   .select(["company.id", "task.message"]).where("task.status", "=", "running").execute();
   * console.log(totals, running);
   * ```
   */
  get db(): ClientDatabase {
    return this.#stores.database as ClientDatabase;
  }

  /** The queue of tasks whose definition names none. */
  get queueName(): string {
    return this.#settings.queueName ?? workerConnections()?.queueName ?? CONF.queueName;
  }

  /**
   * Puts a task in by its name alone: that the context is JSON and not too large is all that is checked here,
   * the schema speaks when the task runs. The task goes to this client's queue.
   *
   * @param name The task's name.
   * @param context What its handler gets.
   * @param options Its id, metadata, and when it is due.
   * @returns The handle of the task.
   * @throws {ValidationError} If the context or the metadata is no JSON, cannot be stored, or is too large.
   * @throws {TaskConflictError} If the id is that of another task.
   * @throws {EnqueueError} If it was not accepted: it will not run.
   * @throws {EnqueueUncertainError} If nobody knows; enqueue again with the id that the error carries.
   */
  enqueue(name: string, context?: unknown, options?: EnqueueOptions): Promise<TaskHandle>;
  /**
   * Puts a task in that takes no context.
   *
   * @param definition The task.
   * @param context Nothing.
   * @param options Its id, metadata, and when it is due.
   * @returns The handle of the task.
   */
  enqueue<Result extends ContextSchema | NoSchema>(
    definition: TaskDefinition<NoSchema, Result>,
    context?: undefined,
    options?: EnqueueOptions,
  ): Promise<TaskHandle<ResultOf<Result>>>;
  /**
   * Puts a task in. It is accepted once its row and the broker have it; it then runs at least once, also
   * where this process ends. With an `agentId` it may be called again with the same task and context, and
   * is accepted once.
   *
   * @param definition The task.
   * @param context What its handler gets, as its schema's input.
   * @param options Its id, metadata, and when it is due.
   * @returns The handle of the task.
   * @throws {ValidationError} If the schema refuses the context, or it or the metadata is no JSON, cannot be
   *   stored, or is too large.
   * @throws {TaskConflictError} If the id is that of another task.
   * @throws {EnqueueError} If it was not accepted: it will not run.
   * @throws {EnqueueUncertainError} If nobody knows; enqueue again with the id that the error carries.
   */
  enqueue<Context extends ContextSchema | NoSchema, Result extends ContextSchema | NoSchema>(
    definition: TaskDefinition<Context, Result>,
    context: InputOf<Context>,
    options?: EnqueueOptions,
  ): Promise<TaskHandle<ResultOf<Result>>>;
  async enqueue(
    task: string | TaskDefinition,
    context?: unknown,
    options: EnqueueOptions = {},
  ): Promise<TaskHandle> {
    await beforeActing();
    return await enqueueOne(this.#stores, { ...this.#targetOf(task), context, options });
  }

  /**
   * Puts many tasks of one kind in, in chunks. Every context is checked before the first goes in.
   *
   * @param definition The task.
   * @param contexts What each handler gets.
   * @param options Their ids, and what holds for all: metadata, and when they are due.
   * @returns The handles of the tasks, in the order of the contexts.
   * @throws {ValidationError} If one context does not pass; none is put in then.
   * @throws {EnqueueManyError} If some were not accepted; it lists which were and which were not.
   *
   * @example
   * ```ts
   * import { Client, defineTask } from "@agentexec/core";
   * import { z } from "zod";
   *
   * const research = defineTask("research_company", { context: z.object({ company: z.string() }) });
   * await using client = new Client();
   * const tasks = await client.enqueueMany(research, [{ company: "Acme" }, { company: "Umbrella" }]);
   * await Promise.all(tasks.map((task) => task.wait()));
   * ```
   */
  async enqueueMany<
    Context extends ContextSchema | NoSchema,
    Result extends ContextSchema | NoSchema,
  >(
    definition: TaskDefinition<Context, Result>,
    contexts: readonly InputOf<Context>[],
    options: EnqueueManyOptions = {},
  ): Promise<readonly TaskHandle<ResultOf<Result>>[]> {
    await beforeActing();
    const target = this.#targetOf(definition as TaskDefinition);
    return await enqueueMany(this.#stores, { ...target, contexts, options });
  }

  /**
   * A handle to a task by its id, in any process. Does not check that the task exists.
   *
   * @param definition The task's definition; or its name, then the result is what JSON gives.
   * @param agentId The task's id.
   * @param options What its metadata must have, for a caller who may see the tasks of one tenant alone.
   * @throws {TypeError} If the id is no UUID, or an option is unknown or of the wrong type.
   *
   * @example
   * ```ts
   * import { Client, defineTask } from "@agentexec/core";
   * import { z } from "zod";
   *
   * const research = defineTask("research_company", { result: z.object({ summary: z.string() }) });
   * await using client = new Client();
   * const task = client.handle(research, "0197a3b2-7c1d-7e2f-8a4b-5c6d7e8f9a0b");
   * console.log(await task.status());
   * ```
   */
  handle<Context extends ContextSchema | NoSchema, Result extends ContextSchema | NoSchema>(
    definition: TaskDefinition<Context, Result>,
    agentId: string,
    options?: TaskHandleOptions,
  ): TaskHandle<ResultOf<Result>>;
  /**
   * A handle to a task by its name and id alone.
   *
   * @param name The task's name.
   * @param agentId The task's id.
   * @param options What its metadata must have, for a caller who may see the tasks of one tenant alone.
   */
  handle(name: string, agentId: string, options?: TaskHandleOptions): TaskHandle;
  handle(
    task: string | TaskDefinition,
    agentId: string,
    options: TaskHandleOptions = {},
  ): TaskHandle {
    checkOptions("give a handle", options, ["metadata"]);
    const { metadata } = options;
    if (metadata !== undefined) checkMetadataFilter(metadata);
    const { taskName, queueName, definition } = this.#targetOf(task);
    // A copy: what the caller does with its object later changes nobody's rights.
    const ref = {
      agentId: checkAgentId(agentId),
      taskName,
      queueName,
      metadata: metadata === undefined ? undefined : { ...metadata },
    };
    return taskHandle(this.#stores, ref, definition);
  }

  /**
   * Reads the progress and the outcome of tasks, in one query, without waiting for any: {@linkcode gather} waits.
   *
   * @param ids The tasks' ids.
   * @returns One entry for each id, in their order; null for an id without a task.
   * @throws {TypeError} If an id is no UUID.
   *
   * @example
   * ```ts
   * import { Client } from "@agentexec/core";
   *
   * async function done(client: Client, ids: readonly string[]) {
   *   const results = await client.results(ids);
   *   return results.filter((each) => each?.status === "complete").map((each) => each?.result);
   * }
   * ```
   */
  async results(ids: readonly string[]): Promise<readonly (TaskResult | null)[]> {
    await beforeActing();
    return await readResults(this.#stores, ids);
  }

  /**
   * Cancels a task: at once where it waits, by asking where it runs.
   *
   * @param agentId The task's id.
   * @returns `"canceled"`: it will not run. `"requested"`: it runs, and its `signal` aborts within about a
   *   second. `"ended"`: it had ended before.
   * @throws {ResultExpiredError} If there is no record of it.
   */
  async cancel(agentId: string): Promise<CancelOutcome> {
    const id = checkAgentId(agentId);
    await beforeActing();
    return await cancelTask(this.#stores, { agentId: id });
  }

  /**
   * Cancels tasks of this client's queue: those that nobody will ever finish, or everything.
   *
   * @param options Which.
   * @returns How many were canceled, and how many were left to other brokers.
   */
  async cancelPending(options: CancelPendingOptions = {}): Promise<CancelPendingReport> {
    checkOptions("cancel pending tasks", options, ["scope"]);
    const { scope = "abandoned" } = options;
    if (scope !== "abandoned" && scope !== "queue") {
      throw new TypeError(
        `Cannot cancel pending tasks: 'scope' must be "abandoned" or "queue", current value is ${
          JSON.stringify(scope)
        }`,
      );
    }
    await beforeActing();
    return await cancelPending(this.#stores, { queueName: this.queueName, scope });
  }

  /**
   * Counts the tasks that wait and run.
   *
   * @param queueName The queue; this client's where it is left out.
   */
  async depth(queueName: string = this.queueName): Promise<Depth> {
    checkName(queueName, "queue");
    await beforeActing();
    return await (await this.#stores.queue(queueName)).depth();
  }

  /**
   * Makes the library's tables, or brings them up to this version. Safe to call at any time and from many
   * processes at once.
   *
   * @throws {MigrationError} If tables of these names are another program's.
   */
  async migrate(): Promise<void> {
    // A handler may; code that runs beside the handlers of a worker does its supervisor's work a second time.
    await (currentTaskOrUndefined() === undefined ? beforeSupervising() : beforeActing());
    await (await this.#stores.activityUnchecked()).migrate();
  }

  /** Closes the connections; whoever still waits for a task gets an error. May be called twice. */
  async close(): Promise<void> {
    await this.#stores.close();
  }

  /** The same as {@linkcode Client.close}, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  get #limits(): { readonly maxBytes: number } {
    return { maxBytes: this.#settings.maxContextBytes };
  }

  #targetOf(task: string | TaskDefinition): EnqueueTarget {
    const limits = this.#limits;
    if (typeof task === "string") {
      checkName(task, "task");
      return { taskName: task, queueName: this.queueName, definition: undefined, limits };
    }
    checkDefinition(task);
    const queueName = task.queue ?? this.queueName;
    return { taskName: task.name, queueName, definition: task, limits };
  }
}
