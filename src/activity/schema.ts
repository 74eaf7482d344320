/**
 * The tables, as a program's own queries see them.
 *
 * @module
 */

/**
 * A point in time as the database gives it: a `Date` from Postgres, ISO 8601 text in UTC from SQLite. A program's own
 * queries get valid dates from Postgres only if the `DateStyle` of its role and database is `ISO`, as it is by default.
 *
 * @example
 * ```ts
 * import type { StoredTime } from "@agentexec/core";
 *
 * function toDate(time: StoredTime): Date {
 *   return new Date(time);
 * }
 * ```
 */
export type StoredTime = Date | string;

/**
 * A row of `{prefix}activity`. JSON columns are `jsonb` in Postgres (objects when read) and text in SQLite.
 *
 * @example
 * ```ts
 * import type { ActivityTable } from "@agentexec/core";
 *
 * function hasEnded(row: Pick<ActivityTable, "ended_at">): boolean {
 *   return row.ended_at !== null;
 * }
 * ```
 */
export interface ActivityTable {
  /** The id of the task or record. */
  agent_id: string;
  /** `task` or `record`. */
  kind: string;
  /** The queue of a task. */
  queue: string | null;
  /** The broker that holds the queue. */
  broker_id: string | null;
  /** The task's name. */
  task_name: string;
  /** `queued`, `running`, `complete`, `error` or `canceled`; later versions may add more. */
  status: string;
  /** How many runs it had. */
  attempt: number;
  /** Runs whose handler threw. */
  failures: number;
  /** Runs whose process died. */
  crashes: number;
  /** Claims whose lease ran out. */
  lapses: number;
  /** The token of the newest transition: text from Postgres, a number from SQLite. */
  token: string | number;
  /** The context. */
  context: unknown;
  /** The metadata. */
  metadata: unknown;
  /** The result. */
  result: unknown;
  /** What went wrong. */
  error: string | null;
  /** The name of the error that it failed by. */
  error_name: string | null;
  /** Its `message` and `stack`; the stack is null if it has none. */
  error_detail: unknown;
  /** How far it says it is. */
  percentage: number | null;
  /** The newest message. */
  message: string | null;
  /** The task below whose handler it was enqueued. */
  parent_id: string | null;
  /** When a delayed task is due. */
  run_at: StoredTime | null;
  /** When it was made. */
  created_at: StoredTime;
  /** When it last came to wait. */
  queued_at: StoredTime | null;
  /** When the last run started. */
  started_at: StoredTime | null;
  /** When it ended. */
  ended_at: StoredTime | null;
  /** When it last changed. */
  updated_at: StoredTime | null;
}

/**
 * A row of `{prefix}activity_log`, which only grows.
 *
 * @example
 * ```ts
 * import type { ActivityLogTable } from "@agentexec/core";
 *
 * function show(line: ActivityLogTable): string {
 *   return `${line.status} ${line.message ?? ""}`;
 * }
 * ```
 */
export interface ActivityLogTable {
  /** The activity. */
  agent_id: string;
  /** The token of the transition or run that wrote it. */
  token: string | number;
  /** Its number under that token. */
  seq: number;
  /** The status at that time. */
  status: string;
  /** What was said. */
  message: string | null;
  /** How far it was. */
  percentage: number | null;
  /** When. */
  at: StoredTime;
}

/**
 * The library's tables in a Kysely schema, to be joined with a program's own. `Prefix` is the table prefix.
 *
 * @example
 * ```ts
 * import type { ActivityDatabase, Client } from "@agentexec/core";
 * import type { Kysely } from "kysely";
 *
 * interface MyTables {
 *   company: { id: string; agent_id: string };
 * }
 *
 * async function running(db: Kysely<MyTables & ActivityDatabase>) {
 *   return await db.selectFrom("company")
 *     .innerJoin("agentexec_activity", "agentexec_activity.agent_id", "company.agent_id")
 *     .select(["company.id", "agentexec_activity.message"])
 *     .where("agentexec_activity.status", "=", "running")
 *     .execute();
 * }
 * ```
 */
export type ActivityDatabase<Prefix extends string = "agentexec_"> =
  & { [Table in `${Prefix}activity`]: ActivityTable }
  & { [Table in `${Prefix}activity_log`]: ActivityLogTable };
