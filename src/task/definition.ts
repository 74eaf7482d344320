/**
 * Task definitions: what producers and workers both import.
 *
 * @module
 */
import { checkName } from "../config.ts";
import { checkOptions } from "../options.ts";
import { kindOf, show } from "../show.ts";
import type { ContextSchema, TaskRun } from "./context.ts";
import { schemaProblem } from "./schema.ts";

/**
 * The schema of a definition that declares none.
 *
 * @example
 * ```ts
 * import { defineTask, type NoSchema, type TaskDefinition } from "@agentexec/core";
 *
 * const ping: TaskDefinition<NoSchema, NoSchema> = defineTask("ping");
 * console.log(ping.name);
 * ```
 */
export type NoSchema = undefined;

/**
 * What a caller passes for a schema: its input, or nothing.
 *
 * @example
 * ```ts
 * import type { InputOf } from "@agentexec/core";
 * import { z } from "zod";
 *
 * const schema = z.object({ limit: z.number().default(10) });
 * const input: InputOf<typeof schema> = {}; // the default fills it in
 * console.log(schema.parse(input).limit);
 * ```
 */
export type InputOf<Schema extends ContextSchema | NoSchema> = Schema extends ContextSchema
  ? NonNullable<Schema["~standard"]["types"]>["input"]
  : undefined;

/**
 * What a schema makes of it: its output, or nothing.
 *
 * @example
 * ```ts
 * import type { OutputOf } from "@agentexec/core";
 * import { z } from "zod";
 *
 * const schema = z.object({ limit: z.number().default(10) });
 * const output: OutputOf<typeof schema> = schema.parse({});
 * console.log(output.limit);
 * ```
 */
export type OutputOf<Schema extends ContextSchema | NoSchema> = Schema extends ContextSchema
  ? NonNullable<Schema["~standard"]["types"]>["output"]
  : undefined;

/**
 * What a handler returns: the input of the result's schema, or any JSON where there is none.
 *
 * @example
 * ```ts
 * import type { ReturnOf } from "@agentexec/core";
 * import { z } from "zod";
 *
 * const schema = z.object({ summary: z.string() });
 * const returned: ReturnOf<typeof schema> = { summary: "short" };
 * console.log(returned.summary);
 * ```
 */
export type ReturnOf<Schema extends ContextSchema | NoSchema> = Schema extends ContextSchema
  ? NonNullable<Schema["~standard"]["types"]>["input"]
  : unknown;

/**
 * What a caller gets as the result: the output of the result's schema, or unknown JSON.
 *
 * @example
 * ```ts
 * import type { ResultOf } from "@agentexec/core";
 * import { z } from "zod";
 *
 * const schema = z.object({ summary: z.string() });
 *
 * function show(result: ResultOf<typeof schema>): string {
 *   return result.summary;
 * }
 * ```
 */
export type ResultOf<Schema extends ContextSchema | NoSchema> = Schema extends ContextSchema
  ? NonNullable<Schema["~standard"]["types"]>["output"]
  : unknown;

/**
 * Whether a run that a stop cuts off goes back to the queue, or is canceled.
 *
 * @example
 * ```ts
 * import { defineTask, type Interrupted } from "@agentexec/core";
 *
 * const interrupted: Interrupted = "cancel";
 * const sendNow = defineTask("send_now", { interrupted });
 * console.log(sendNow.name);
 * ```
 */
export type Interrupted = "requeue" | "cancel";

/**
 * The options of {@linkcode defineTask}.
 *
 * @example
 * ```ts
 * import { defineTask, type TaskOptions } from "@agentexec/core";
 *
 * const options: TaskOptions<undefined, undefined> = { queue: "urgent", interrupted: "requeue" };
 * const ping = defineTask("ping", options);
 * console.log(ping.queue);
 * ```
 */
export interface TaskOptions<
  Context extends ContextSchema | NoSchema = ContextSchema | NoSchema,
  Result extends ContextSchema | NoSchema = ContextSchema | NoSchema,
> {
  /**
   * The schema of the context, of zod or of any library that implements Standard Schema. It must survive JSON: what is
   * stored is the JSON of its input.
   *
   * @default {undefined} (the task takes no context)
   */
  readonly context?: Context;
  /**
   * The schema of the result, of zod or of any library that implements Standard Schema.
   *
   * @default {undefined} (any JSON value)
   */
  readonly result?: Result;
  /**
   * The queue the task waits in.
   *
   * @default {the queue of the client or pool that enqueues it}
   */
  readonly queue?: string;
  /**
   * Whether a run that a stop cuts off goes back to the head of the queue, or is canceled.
   *
   * @default {the pool's `interrupted`}
   */
  readonly interrupted?: Interrupted;
}

/**
 * A task as declared: a name, its schemas and options. Made by {@linkcode defineTask}; handed to
 * `pool.task`, `enqueue` and `handle`.
 *
 * @example
 * ```ts
 * import type { TaskDefinition } from "@agentexec/core";
 *
 * function describe(definition: TaskDefinition): string {
 *   return `${definition.name} on ${definition.queue ?? "the default queue"}`;
 * }
 * ```
 */
export interface TaskDefinition<
  Context extends ContextSchema | NoSchema = ContextSchema | NoSchema,
  Result extends ContextSchema | NoSchema = ContextSchema | NoSchema,
> {
  /** The task's name. */
  readonly name: string;
  /** The schema of the context; undefined where the task takes none. */
  readonly context: Context;
  /** The schema of the result; undefined where any JSON will do. */
  readonly result: Result;
  /** The queue the task waits in; undefined for that of whoever enqueues it. */
  readonly queue: string | undefined;
  /** Whether a run that a stop cuts off goes back or is canceled; undefined for the pool's choice. */
  readonly interrupted: Interrupted | undefined;
}

/**
 * A function that runs a task. It may be sync or async; the value that it returns is the task's result.
 *
 * @example
 * ```ts
 * import { type NoSchema, Pool, type TaskHandler } from "@agentexec/core";
 *
 * const handler: TaskHandler<NoSchema, NoSchema> = ({ agentId }) => `${agentId} was here`;
 *
 * function declare(pool: Pool) {
 *   return pool.task("sign", handler);
 * }
 * ```
 */
export type TaskHandler<
  Context extends ContextSchema | NoSchema = ContextSchema | NoSchema,
  Result extends ContextSchema | NoSchema = ContextSchema | NoSchema,
> = (run: TaskRun<OutputOf<Context>>) => ReturnOf<Result> | Promise<ReturnOf<Result>>;

/**
 * A handler as `pool.task` takes it: what the result's schema takes is what it returns. Without a schema the compiler
 * looks at the type of what it returns, and refuses what JSON would lose.
 *
 * @example
 * ```ts
 * import type { FittingHandler, NoSchema } from "@agentexec/core";
 *
 * const count: FittingHandler<NoSchema, NoSchema, number> = ({ attempt }) => attempt;
 * console.log(count.length);
 * ```
 */
export type FittingHandler<
  Context extends ContextSchema | NoSchema,
  Result extends ContextSchema | NoSchema,
  Returned,
> = Result extends ContextSchema ? TaskHandler<Context, Result>
  : (run: TaskRun<OutputOf<Context>>) => IsAny<Awaited<Returned>> extends true ? Returned
    : [Extract<Awaited<Returned>, Lossy>] extends [never] ? Returned
    : NotJson;

/**
 * Stands in compiler errors for what a handler may not return.
 *
 * @example
 * ```ts
 * import type { NotJson } from "@agentexec/core";
 *
 * const why: NotJson = "a task's result is JSON: return plain data, such as await response.json()";
 * console.log(why);
 * ```
 */
export type NotJson = "a task's result is JSON: return plain data, such as await response.json()";

/** @internal */
type IsAny<Value> = 0 extends 1 & Value ? true : false;

/**
 * Types of which JSON keeps nothing. Structural types that plain data may have too, such as that of an Error, are
 * left to the check at run time.
 *
 * @internal
 */
type Lossy =
  | AsyncIterable<unknown>
  | Generator<unknown, unknown, never>
  | ReadonlyMap<unknown, unknown>
  | ReadonlySet<unknown>
  | WeakMap<WeakKey, unknown>
  | WeakSet<WeakKey>
  | RegExp
  | ArrayBufferView
  | ArrayBuffer
  | Response
  | Request
  | Headers
  | FormData
  | URLSearchParams
  | Blob
  | ReadableStream
  | bigint
  | symbol
  | ((...values: never) => unknown);

/**
 * A definition with its handler: what `pool.tasks` holds.
 *
 * @example
 * ```ts
 * import { Pool, type Task } from "@agentexec/core";
 *
 * function names(pool: Pool): string[] {
 *   return [...pool.tasks.values()].map((task: Task) => task.definition.name);
 * }
 * ```
 */
export interface Task {
  /** The definition. */
  readonly definition: TaskDefinition;
  /** The handler. */
  readonly handler: TaskHandler;
}

/** One entry for each option: what refuses a value of it. `failure` begins the error. */
const TASK_OPTIONS: {
  readonly [Name in keyof TaskOptions]-?: (
    value: TaskOptions[Name],
    name: Name,
    failure: string,
  ) => void;
} = {
  context: refuseNoSchema,
  result: refuseNoSchema,
  queue: (queue) => queue === undefined || checkName(queue, "queue"),
  interrupted: (value, name, failure) => {
    if (value === undefined || value === "requeue" || value === "cancel") return;
    throw new TypeError(
      `${failure}: '${name}' must be "requeue" or "cancel", current value is ${show(value)}`,
    );
  },
};

/**
 * Declares a task: its name, and the schemas of what goes in and what comes out. Producers and workers
 * import the same declaration, so that both sides agree and the types follow.
 *
 * @param name The task's name: 1 to 128 letters, digits, `_`, `.` or `-`.
 * @param options Its schemas, queue and behaviour.
 * @returns The definition, to hand to `pool.task` and `enqueue`.
 * @throws {TypeError} If an option is unknown or of the wrong type.
 * @throws {RangeError} If the name or the queue is no allowed name.
 *
 * @example
 * ```ts
 * import { defineTask } from "@agentexec/core";
 * import { z } from "zod";
 *
 * export const research = defineTask("research_company", {
 *   context: z.object({ company: z.string() }),
 *   result: z.object({ summary: z.string() }),
 * });
 * ```
 */
export function defineTask<
  Context extends ContextSchema | NoSchema = NoSchema,
  Result extends ContextSchema | NoSchema = NoSchema,
>(name: string, options: TaskOptions<Context, Result> = {}): TaskDefinition<Context, Result> {
  checkName(name, "task");
  checkTaskOptions(name, options);
  const { context, result, queue, interrupted } = options;
  return Object.freeze({
    name,
    context: context as Context,
    result: result as Result,
    queue,
    interrupted,
  });
}

/** Refuses options that are none, names that are unknown, and values that an option may not have. */
function checkTaskOptions(name: string, options: TaskOptions): void {
  const failure = `Cannot define task '${name}'`;
  if (schemaProblem(options) === undefined) {
    throw new TypeError(
      `${failure}: the options are a schema; write { context: schema } or { result: schema }`,
    );
  }
  checkOptions(`define task '${name}'`, options, Object.keys(TASK_OPTIONS));
  for (const option of Object.keys(TASK_OPTIONS) as (keyof TaskOptions)[]) {
    if (option in options) TASK_OPTIONS[option](options[option] as never, option as never, failure);
  }
}

function refuseNoSchema(value: unknown, name: string, failure: string): void {
  const problem = schemaProblem(value);
  if (problem === undefined) return;
  throw new TypeError(
    `${failure}: '${name}' must be a schema such as z.object({ … }) of zod, current value is ${problem}`,
  );
}

/**
 * Refuses what is no definition: one may come from another realm or copy of the library, or be made by hand.
 *
 * @throws {TypeError} If it is none.
 */
export function checkDefinition(definition: TaskDefinition): void {
  if (
    typeof definition !== "object" || definition === null || typeof definition.name !== "string"
  ) {
    throw new TypeError(
      `Cannot find the task: give a definition (defineTask) or a name, current value is ${
        kindOf(definition)
      }`,
    );
  }
  const { name, context, result } = definition;
  for (const [member, schema] of Object.entries({ context, result })) {
    const problem = schema === undefined ? undefined : schemaProblem(schema);
    if (problem === undefined) continue;
    throw new TypeError(
      `Cannot use the definition of task '${name}': its '${member}' must be a schema, current value is ${problem}`,
    );
  }
}
