/**
 * The errors that a caller of the library may want to tell apart. What is wrong with an argument's
 * type or range is a `TypeError` or `RangeError`.
 *
 * @module
 */

/** Options that every error of the library takes. */
interface AgentexecErrorOptions {
  readonly cause?: unknown;
}

/**
 * What all errors of this library have in common.
 *
 * @example
 * ```ts
 * import { AgentexecError, Client } from "@agentexec/core";
 *
 * async function tryEnqueue(client: Client) {
 *   try {
 *     await client.enqueue("research_company", { company: "Acme" });
 *   } catch (error) {
 *     if (error instanceof AgentexecError) console.error(error.name, error.message);
 *     else throw error;
 *   }
 * }
 * ```
 */
export class AgentexecError extends Error {
  /** The class's name, stable across versions. */
  override readonly name: string = "AgentexecError";

  /** Makes an error with a message and, in `options`, its cause. */
  constructor(message: string, options: AgentexecErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
  }
}

/**
 * An option or an environment variable has a value that is not allowed, or one that is needed is
 * missing. The message names it, its value and what is allowed.
 *
 * @example
 * ```ts
 * import { ConfigError, Pool } from "@agentexec/core";
 *
 * try {
 *   new Pool({ brokerUrl: "amqp://localhost" });
 * } catch (error) {
 *   console.log(error instanceof ConfigError);
 * }
 * ```
 */
export class ConfigError extends AgentexecError {
  /** `"ConfigError"` */
  override readonly name = "ConfigError";
}

/**
 * The broker or the database cannot be reached, or refused the connection. `retryable` tells whether
 * trying again can help: a refused password is not.
 *
 * @example
 * ```ts
 * import { Client, ConnectionError } from "@agentexec/core";
 *
 * async function isUp(client: Client) {
 *   try {
 *     await client.depth();
 *     return true;
 *   } catch (error) {
 *     if (error instanceof ConnectionError) return false;
 *     throw error;
 *   }
 * }
 * ```
 */
export class ConnectionError extends AgentexecError {
  /** `"ConnectionError"` */
  override readonly name = "ConnectionError";
  /** Whether trying again can help. */
  readonly retryable: boolean;

  /** Makes the error; `retryable` says whether trying again can help. */
  constructor(message: string, options: AgentexecErrorOptions & { readonly retryable: boolean }) {
    super(message, options);
    this.retryable = options.retryable;
  }
}

/**
 * The queue or the tables belong to another program, or to a version of this library that this one
 * cannot work beside.
 *
 * @example
 * ```ts
 * import { IncompatibleError, Pool } from "@agentexec/core";
 *
 * async function start(pool: Pool) {
 *   try {
 *     await pool.start();
 *   } catch (error) {
 *     if (error instanceof IncompatibleError) console.error(`Choose another queue: ${error.message}`);
 *     throw error;
 *   }
 * }
 * ```
 */
export class IncompatibleError extends AgentexecError {
  /** `"IncompatibleError"` */
  override readonly name = "IncompatibleError";
}

/**
 * The database has not been migrated yet, or has been migrated to something this version cannot use.
 *
 * @example
 * ```ts
 * import { MigrationError, Pool } from "@agentexec/core";
 *
 * async function startMigrated(pool: Pool) {
 *   try {
 *     await pool.start();
 *   } catch (error) {
 *     if (!(error instanceof MigrationError)) throw error;
 *     await pool.migrate();
 *     await pool.start();
 *   }
 * }
 * ```
 */
export class MigrationError extends AgentexecError {
  /** `"MigrationError"` */
  override readonly name = "MigrationError";
}

/**
 * `start()` could not bring the workers up: one never got ready, died while starting, or declares
 * other tasks than the supervisor.
 *
 * @example
 * ```ts
 * import { Pool, StartError } from "@agentexec/core";
 *
 * async function start(pool: Pool) {
 *   try {
 *     await pool.start();
 *   } catch (error) {
 *     if (error instanceof StartError) console.error(error.message);
 *     throw error;
 *   }
 * }
 * ```
 */
export class StartError extends AgentexecError {
  /** `"StartError"` */
  override readonly name = "StartError";
}

/**
 * A context, result or metadata does not pass: its schema refuses it, it is no JSON, it holds a
 * character that cannot be stored, or it is too large.
 *
 * @example
 * ```ts
 * import { Client, ValidationError } from "@agentexec/core";
 *
 * async function enqueue(client: Client, input: unknown) {
 *   try {
 *     return await client.enqueue("research_company", input);
 *   } catch (error) {
 *     if (error instanceof ValidationError) return { problem: error.message };
 *     throw error;
 *   }
 * }
 * ```
 */
export class ValidationError extends AgentexecError {
  /** `"ValidationError"` */
  override readonly name = "ValidationError";
  /** What the schema refuses: each place in the value, and the schema's own words. Empty if no schema was asked. */
  readonly issues: readonly {
    readonly path: readonly PropertyKey[];
    readonly message: string;
  }[];

  /** Makes the error; `issues` is what the schema refuses. */
  constructor(
    message: string,
    options: AgentexecErrorOptions & { readonly issues?: ValidationError["issues"] } = {},
  ) {
    super(message, options);
    this.issues = options.issues ?? [];
  }
}

/**
 * What the errors about one task have in common: they carry its id.
 *
 * @example
 * ```ts
 * import { Client, TaskError } from "@agentexec/core";
 *
 * async function enqueue(client: Client) {
 *   try {
 *     await client.enqueue("research_company", { company: "Acme" });
 *   } catch (error) {
 *     if (error instanceof TaskError) console.error(error.agentId, error.message);
 *     else throw error;
 *   }
 * }
 * ```
 */
export class TaskError extends AgentexecError {
  /** `"TaskError"`, or the name of the class that extends it. */
  override readonly name: string = "TaskError";
  /** The task's id. */
  readonly agentId: string;

  /** Makes the error of one task. */
  constructor(message: string, options: AgentexecErrorOptions & { readonly agentId: string }) {
    super(message, options);
    this.agentId = options.agentId;
  }
}

/**
 * An id that the caller brought is already that of a task with another name or context, of another queue, or of another
 * broker that is in use.
 *
 * @example
 * ```ts
 * import { Client, TaskConflictError } from "@agentexec/core";
 *
 * async function enqueueOnce(client: Client, agentId: string) {
 *   try {
 *     await client.enqueue("research_company", { company: "Acme" }, { agentId });
 *   } catch (error) {
 *     if (error instanceof TaskConflictError) console.error(`Taken: ${error.agentId}`);
 *     else throw error;
 *   }
 * }
 * ```
 */
export class TaskConflictError extends TaskError {
  /** `"TaskConflictError"` */
  override readonly name = "TaskConflictError";
}

/**
 * The task was not accepted: it will not run. Its row, where one was made, says so, and the same id may
 * be enqueued again.
 *
 * @example
 * ```ts
 * import { Client, EnqueueError } from "@agentexec/core";
 *
 * async function enqueue(client: Client) {
 *   try {
 *     await client.enqueue("research_company", { company: "Acme" });
 *   } catch (error) {
 *     if (error instanceof EnqueueError) console.error(error.agentId, error.cause);
 *     else throw error;
 *   }
 * }
 * ```
 */
export class EnqueueError extends TaskError {
  /** `"EnqueueError"` */
  override readonly name: string = "EnqueueError";
}

/**
 * Nobody knows whether the task was accepted: the connection broke in between. Enqueue again with the
 * id that this error carries; it is then accepted once.
 *
 * @example
 * ```ts
 * import { Client, EnqueueUncertainError } from "@agentexec/core";
 *
 * async function enqueue(client: Client, agentId?: string) {
 *   try {
 *     return await client.enqueue("research_company", { company: "Acme" }, agentId ? { agentId } : {});
 *   } catch (error) {
 *     if (error instanceof EnqueueUncertainError) return await enqueue(client, error.agentId);
 *     throw error;
 *   }
 * }
 * ```
 */
export class EnqueueUncertainError extends EnqueueError {
  /** `"EnqueueUncertainError"` */
  override readonly name = "EnqueueUncertainError";
}

/**
 * Some tasks of one `enqueueMany` were not accepted.
 *
 * @example
 * ```ts
 * import { Client, defineTask, EnqueueManyError } from "@agentexec/core";
 *
 * async function enqueueAll(client: Client) {
 *   const ping = defineTask("ping");
 *   try {
 *     await client.enqueueMany(ping, [undefined, undefined]);
 *   } catch (error) {
 *     if (error instanceof EnqueueManyError) console.error(error.accepted, error.refused);
 *     else throw error;
 *   }
 * }
 * ```
 */
export class EnqueueManyError extends AgentexecError {
  /** `"EnqueueManyError"` */
  override readonly name = "EnqueueManyError";
  /** The ids of the tasks that were accepted. */
  readonly accepted: readonly string[];
  /** The ids of the tasks that were not, or of which nobody knows. */
  readonly refused: readonly string[];

  /** Makes the error of one `enqueueMany`. */
  constructor(
    message: string,
    options: AgentexecErrorOptions & {
      readonly accepted: readonly string[];
      readonly refused: readonly string[];
    },
  ) {
    super(message, options);
    this.accepted = options.accepted;
    this.refused = options.refused;
  }
}

/**
 * The task ended in an error: its handler threw, or what ran it died too often. `cause` holds what is
 * known of it.
 *
 * @example
 * ```ts
 * import { TaskFailedError, type TaskHandle } from "@agentexec/core";
 *
 * async function summary(task: TaskHandle<{ summary: string }>) {
 *   try {
 *     return (await task.result()).summary;
 *   } catch (error) {
 *     if (error instanceof TaskFailedError) return `failed after ${error.attempts}: ${error.message}`;
 *     throw error;
 *   }
 * }
 * ```
 */
export class TaskFailedError extends TaskError {
  /** `"TaskFailedError"` */
  override readonly name = "TaskFailedError";
  /** The task's name. */
  readonly taskName: string;
  /** How many runs it had. */
  readonly attempts: number;

  /** Makes the error of one task. */
  constructor(
    message: string,
    options: AgentexecErrorOptions & {
      readonly taskName: string;
      readonly agentId: string;
      readonly attempts: number;
    },
  ) {
    super(message, options);
    this.taskName = options.taskName;
    this.attempts = options.attempts;
  }
}

/**
 * The task was canceled and has no result.
 *
 * @example
 * ```ts
 * import { TaskCanceledError, type TaskHandle } from "@agentexec/core";
 *
 * async function resultOrNull(task: TaskHandle<string>) {
 *   try {
 *     return await task.result();
 *   } catch (error) {
 *     if (error instanceof TaskCanceledError) return null;
 *     throw error;
 *   }
 * }
 * ```
 */
export class TaskCanceledError extends TaskError {
  /** `"TaskCanceledError"` */
  override readonly name = "TaskCanceledError";
}

/**
 * The task had not ended when the time to wait for it was over. The task goes on.
 *
 * @example
 * ```ts
 * import { ResultTimeoutError, type TaskHandle } from "@agentexec/core";
 *
 * async function within(task: TaskHandle<string>) {
 *   try {
 *     return await task.result({ timeout: { seconds: 10 } });
 *   } catch (error) {
 *     if (error instanceof ResultTimeoutError) return "still running";
 *     throw error;
 *   }
 * }
 * ```
 */
export class ResultTimeoutError extends TaskError {
  /** `"ResultTimeoutError"` */
  override readonly name = "ResultTimeoutError";
}

/**
 * There is no record of the task (any more), so nobody can say what became of it.
 *
 * @example
 * ```ts
 * import { ResultExpiredError, type TaskHandle } from "@agentexec/core";
 *
 * async function resultOf(task: TaskHandle<string>) {
 *   try {
 *     return await task.result();
 *   } catch (error) {
 *     if (error instanceof ResultExpiredError) return "its record was deleted";
 *     throw error;
 *   }
 * }
 * ```
 */
export class ResultExpiredError extends TaskError {
  /** `"ResultExpiredError"` */
  override readonly name = "ResultExpiredError";
}

/**
 * `activity.update`, `complete` and `error` of a pool or client work on records that the program made by
 * `activity.create`; a task's activity is written by the worker that runs it alone.
 *
 * @example
 * ```ts
 * import { ActivityOwnedError, Client } from "@agentexec/core";
 *
 * async function complete(client: Client, id: string) {
 *   try {
 *     await client.activity.complete(id);
 *   } catch (error) {
 *     if (error instanceof ActivityOwnedError) console.error("a task, not a record of ours");
 *     else throw error;
 *   }
 * }
 * ```
 */
export class ActivityOwnedError extends TaskError {
  /** `"ActivityOwnedError"` */
  override readonly name = "ActivityOwnedError";
}

/**
 * A transaction of a handler's `db` on SQLite read first and then wanted to write, but another had written meanwhile:
 * what it read is no longer so. It can write nothing any more; run it again, or begin it by
 * `setAccessMode("read write")`, which lets nobody write in between.
 *
 * @example
 * ```ts
 * import { currentTask, TransactionConflictError } from "@agentexec/core";
 *
 * async function again<T>(work: () => Promise<T>): Promise<T> {
 *   for (;;) {
 *     try {
 *       return await work();
 *     } catch (error) {
 *       if (!(error instanceof TransactionConflictError)) throw error;
 *       currentTask().signal.throwIfAborted();
 *     }
 *   }
 * }
 * ```
 */
export class TransactionConflictError extends AgentexecError {
  /** `"TransactionConflictError"` */
  override readonly name = "TransactionConflictError";
}
