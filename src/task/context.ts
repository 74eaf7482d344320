/**
 * What a handler sees: its argument, as interfaces that the rooms above satisfy.
 *
 * @module
 */
import type { Kysely } from "kysely";
import type { z } from "zod";

/** Any zod schema: what a task's context and result are declared with. */
export type ContextSchema = z.ZodType;

/**
 * A Kysely instance on the pool's database, for the program's own tables and queries.
 *
 * The row types are open, since the library cannot know a program's tables; narrow it where you use it:
 * `db as Kysely<MyTables>`.
 */
export type Database = OpenKysely;

/** @internal */
// deno-lint-ignore no-explicit-any -- the program's tables are the program's; `unknown` would refuse every query
type OpenKysely = Kysely<any>;

/** What goes with a progress message. */
export interface ProgressOptions {
  /**
   * How far the task is, 0 to 100.
   *
   * @default {the percentage before}
   */
  readonly percentage?: number;
}

/** A handler's hold on its own task's activity. Every write carries the run's token. */
export interface TaskActivity {
  /**
   * Says how far the task is. Every update goes out to those who watch at once; the record keeps the
   * last of each 250 ms and always the final one.
   */
  update(message: string, options?: ProgressOptions): Promise<void>;
  /** Words the failure that follows: the message that the record shows if the handler throws. */
  error(message: string): Promise<void>;
}

/** A handler's logger: lines reach the supervisor's output with worker, task and id attached. */
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

/** What a handler is called with. */
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
  /** The hold on the task's own activity. */
  readonly activity: TaskActivity;
  /** A logger of this run. */
  readonly log: TaskLog;
  /** The pool's database, in a small connection pool of its own that opens at first use. */
  readonly db: Database;
}
