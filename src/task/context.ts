/**
 * What a handler sees: its argument, as interfaces that the rooms above satisfy.
 *
 * @module
 */
import type { StandardSchemaV1 } from "@standard-schema/spec";
import type { Kysely } from "kysely";

/**
 * Any schema that implements [Standard Schema](https://standardschema.dev), version 1: what a task's context and
 * result are declared with. Those of zod 4 do, those of zod from 3.24 on, of valibot, ArkType and others.
 *
 * @example
 * ```ts
 * import type { ContextSchema } from "@agentexec/core";
 * import { z } from "zod";
 *
 * const schema: ContextSchema = z.object({ company: z.string() });
 * console.log(schema["~standard"].vendor);
 * ```
 */
export type ContextSchema = StandardSchemaV1;

/**
 * A Kysely instance on the pool's database, for the program's own tables and queries.
 *
 * The row types are open, since the library cannot know a program's tables; narrow it where you use it:
 * `db as Kysely<MyTables>`.
 *
 * @example
 * ```ts
 * import { currentTask, type Database } from "@agentexec/core";
 * import type { Kysely } from "kysely";
 *
 * interface MyTables {
 *   note: { agent_id: string; text: string };
 * }
 *
 * async function saveNote(text: string) {
 *   const { agentId, db } = currentTask();
 *   await (db as Kysely<MyTables>).insertInto("note").values({ agent_id: agentId, text }).execute();
 * }
 *
 * async function countNotes(db: Database) {
 *   return (await db.selectFrom("note").select("text").execute()).length;
 * }
 * ```
 */
export type Database = OpenKysely;

/** @internal */
// deno-lint-ignore no-explicit-any -- the program's tables are the program's; `unknown` would refuse every query
type OpenKysely = Kysely<any>;

/**
 * Options of a progress message.
 *
 * @example
 * ```ts
 * import { currentTask, type ProgressOptions } from "@agentexec/core";
 *
 * async function half(message: string) {
 *   const options: ProgressOptions = { percentage: 50 };
 *   await currentTask().activity.update(message, options);
 * }
 * ```
 */
export interface ProgressOptions {
  /**
   * How far the task is, 0 to 100.
   *
   * @default {the percentage before}
   */
  readonly percentage?: number;
}

/** The names of the options of a progress message. */
export const PROGRESS_OPTIONS: readonly (keyof ProgressOptions)[] = ["percentage"];

/**
 * A handle to the activity of the handler's own task. Every write carries the run's token.
 *
 * @example
 * ```ts
 * import type { TaskActivity } from "@agentexec/core";
 *
 * async function report(activity: TaskActivity, done: number, all: number) {
 *   await activity.update(`${done} of ${all} pages read`, { percentage: 100 * done / all });
 * }
 * ```
 */
export interface TaskActivity {
  /**
   * Says how far the task is. Every update goes out to those who watch at once; the record keeps the
   * last of each 250 ms and always the final one. A message of more than 1,024 bytes of UTF-8 is cut there, at a
   * character, and ends with "…".
   */
  update(message: string, options?: ProgressOptions): Promise<void>;
  /**
   * Words the failure that follows: the message that the record shows if the handler throws. Cut as that of `update`.
   */
  error(message: string): Promise<void>;
}

/**
 * A handler's logger: lines reach the supervisor's output with worker, task and id attached.
 *
 * @example
 * ```ts
 * import type { TaskLog } from "@agentexec/core";
 *
 * function note(log: TaskLog, tokens: number) {
 *   log.info("The model used {tokens} tokens", { tokens });
 * }
 * ```
 */
export interface TaskLog {
  /** Writes a line for developers. */
  debug(message: string, properties?: Record<string, unknown>): void;
  /** Writes a line of information. */
  info(message: string, properties?: Record<string, unknown>): void;
  /** Writes a warning. */
  warn(message: string, properties?: Record<string, unknown>): void;
  /** Writes an error. */
  error(message: string, properties?: Record<string, unknown>): void;
}

/**
 * The argument of a handler.
 *
 * @example
 * ```ts
 * import type { TaskRun } from "@agentexec/core";
 *
 * async function research({ context, signal, activity }: TaskRun<{ company: string }>) {
 *   await activity.update(`Reading about ${context.company}`);
 *   const page = await fetch(`https://example.com/${context.company}`, { signal });
 *   return { words: (await page.text()).split(" ").length };
 * }
 * ```
 */
export interface TaskRun<Context = unknown> {
  /** The task's id. */
  readonly agentId: string;
  /** The task's name. */
  readonly taskName: string;
  /** The number of this run, from 1. */
  readonly attempt: number;
  /** The context as the schema's output. */
  readonly context: Context;
  /** What the caller of `enqueue` attached. */
  readonly metadata: Readonly<Record<string, unknown>>;
  /**
   * Aborts when the run is lost, canceled, or its supervisor died. A graceful stop does not abort it.
   */
  readonly signal: AbortSignal;
  /** The handle to the task's own activity. */
  readonly activity: TaskActivity;
  /** A logger of this run. */
  readonly log: TaskLog;
  /** The pool's database, in a small connection pool of its own that opens at first use. */
  readonly db: Database;
}
