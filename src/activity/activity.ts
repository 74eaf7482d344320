/**
 * What an activity is, as the public API shows it.
 *
 * @module
 */

/**
 * What a record is of: a task, or anything else that a program wants recorded.
 *
 * @example
 * ```ts
 * import type { ActivityKind } from "@agentexec/core";
 *
 * const onlyTasks: ActivityKind = "task";
 * console.log(onlyTasks);
 * ```
 */
export type ActivityKind = "task" | "record";

/**
 * How far an activity is. Later versions may add statuses: treat an unknown one as not ended.
 *
 * @example
 * ```ts
 * import type { ActivityStatus } from "@agentexec/core";
 *
 * function isLive(status: ActivityStatus): boolean {
 *   return status === "queued" || status === "running";
 * }
 * ```
 */
export type ActivityStatus = "queued" | "running" | "complete" | "error" | "canceled";

/** The statuses after which nothing happens any more. */
export const TERMINAL: readonly ActivityStatus[] = ["complete", "error", "canceled"];

/** Whether nothing happens any more. */
export function isTerminal(status: ActivityStatus): boolean {
  return TERMINAL.includes(status);
}

/**
 * What went wrong, in parts. The names are those of the errors that handlers threw, and of the library's own:
 * `ValidationError` (a context or result that its schema refuses), `WorkerCrashError` (its process died too often),
 * `TaskLostError` (its host went away too often, or its context was lost), `UnknownTaskError` (no worker knew its name for an hour) and
 * `EnqueueError` (the broker did not accept it).
 *
 * @example
 * ```ts
 * import type { ActivityFailure } from "@agentexec/core";
 *
 * function isOurs({ name }: ActivityFailure): boolean {
 *   return name !== "WorkerCrashError" && name !== "TaskLostError";
 * }
 * ```
 */
export interface ActivityFailure {
  /** The error's name; `"Error"` if something else than an error was thrown. */
  readonly name: string;
  /** Its message, at most 16 KiB. */
  readonly message: string;
  /** Its own stack without those of its causes, at most 16 KiB; null if it has none. */
  readonly stack: string | null;
}

/**
 * An activity as lists show it: without context, result and log.
 *
 * @example
 * ```ts
 * import type { ActivityItem } from "@agentexec/core";
 *
 * function row(item: ActivityItem): string {
 *   return `${item.taskName} ${item.status} ${item.percentage ?? 0} %`;
 * }
 * ```
 */
export interface ActivityItem {
  /** The id of the task or record. */
  readonly agentId: string;
  /** A task, or a record of the program's own. */
  readonly kind: ActivityKind;
  /** The queue of a task; null for a record. */
  readonly queue: string | null;
  /** The task's name, or what the record was created with. */
  readonly taskName: string;
  /** How far it is. */
  readonly status: ActivityStatus;
  /** How many runs it had; the number of the present one. */
  readonly attempt: number;
  /** Runs whose handler threw. */
  readonly failures: number;
  /** Runs whose process died. */
  readonly crashes: number;
  /** Claims whose lease ran out. */
  readonly lapses: number;
  /** What the creator attached. */
  readonly metadata: Readonly<Record<string, unknown>>;
  /** The newest message. */
  readonly message: string | null;
  /** How far it says it is, 0 to 100. */
  readonly percentage: number | null;
  /** What went wrong: the error with its causes; null where nothing did. */
  readonly error: string | null;
  /**
   * The same error in parts; null if nothing went wrong, or if a version of the library wrote it that kept the text
   * alone.
   */
  readonly failure: ActivityFailure | null;
  /** When a delayed task is due; null where it was due at once. */
  readonly runAt: Date | null;
  /** When it was made. */
  readonly createdAt: Date;
  /** When it last came to wait in the queue. */
  readonly queuedAt: Date | null;
  /** When the present or last run started. */
  readonly startedAt: Date | null;
  /** When it ended. */
  readonly endedAt: Date | null;
  /** When anything of it last changed. */
  readonly updatedAt: Date;
}

/**
 * One line of an activity's log.
 *
 * @example
 * ```ts
 * import type { ActivityLogEntry } from "@agentexec/core";
 *
 * function line({ at, status, message }: ActivityLogEntry): string {
 *   return `${at.toISOString()} ${status} ${message ?? ""}`;
 * }
 * ```
 */
export interface ActivityLogEntry {
  /** The status at that time. */
  readonly status: ActivityStatus;
  /** What was said. */
  readonly message: string | null;
  /** How far it was. */
  readonly percentage: number | null;
  /** When. */
  readonly at: Date;
}

/**
 * An activity with all there is to it.
 *
 * @example
 * ```ts
 * import { type ActivityDetail, Client } from "@agentexec/core";
 *
 * function lastLine(detail: ActivityDetail): string {
 *   const line = detail.log.at(-1);
 *   return `${detail.status}: ${line?.message ?? "nothing said"}`;
 * }
 *
 * async function show(client: Client, agentId: string) {
 *   const detail = await client.activity.detail(agentId);
 *   if (detail !== null) console.log(lastLine(detail));
 * }
 * ```
 */
export interface ActivityDetail extends ActivityItem {
  /** The context as stored; null where it takes none or is not stored. */
  readonly context: unknown;
  /**
   * The result as stored; null where there is none. The order of its keys is that of the database: SQLite keeps the
   * handler's, Postgres its own.
   */
  readonly result: unknown;
  /** Its log, oldest first. */
  readonly log: readonly ActivityLogEntry[];
}

/**
 * Members of the metadata and the values that they must have. Names are 1 to 64 letters, digits, `_`, `.` or `-`;
 * values are strings, finite numbers, booleans or null.
 *
 * @example
 * ```ts
 * import { Client, type MetadataFilter } from "@agentexec/core";
 *
 * async function show(client: Client, agentId: string, org: string) {
 *   const metadata: MetadataFilter = { org };
 *   return await client.activity.detail(agentId, { metadata });
 * }
 * ```
 */
export type MetadataFilter = Readonly<Record<string, string | number | boolean | null>>;

/**
 * Which activities. Each member narrows further.
 *
 * @example
 * ```ts
 * import { type ActivityFilter, Client } from "@agentexec/core";
 *
 * const failures: ActivityFilter = { status: "error", metadata: { org: "o-1" } };
 *
 * async function countFailures(client: Client) {
 *   return await client.activity.count(failures);
 * }
 * ```
 */
export interface ActivityFilter {
  /** Only this status, or one of these. */
  readonly status?: ActivityStatus | readonly ActivityStatus[];
  /** Only tasks of this name. */
  readonly taskName?: string;
  /** Only tasks of this queue. */
  readonly queue?: string;
  /** Only tasks, or only records. */
  readonly kind?: ActivityKind;
  /** Only those whose metadata has each of these members with this very value. */
  readonly metadata?: MetadataFilter;
  /**
   * Only those that failed by an error of this name, such as `"TypeError"`: the `name` of their
   * {@linkcode ActivityItem.failure}.
   */
  readonly errorName?: string;
  /** Only those with one of these ids. */
  readonly agentIds?: readonly string[];
  /** Only those created at or after this time. */
  readonly createdAfter?: Date;
  /** Only those created before this time. */
  readonly createdBefore?: Date;
}

/** The names of the members of a filter. */
export const FILTER_OPTIONS: readonly (keyof ActivityFilter)[] = [
  "status",
  "taskName",
  "queue",
  "kind",
  "metadata",
  "errorName",
  "agentIds",
  "createdAfter",
  "createdBefore",
];

/**
 * The order of a list: the newest first, or what runs, then what waits, then the rest, each newest first.
 *
 * @example
 * ```ts
 * import { type ActivityOrder, Client } from "@agentexec/core";
 *
 * async function board(client: Client) {
 *   const order: ActivityOrder = "active";
 *   return (await client.activity.list({ order })).items;
 * }
 * ```
 */
export type ActivityOrder = "newest" | "active";

/**
 * Which page of which activities.
 *
 * @example
 * ```ts
 * import { type ActivityListOptions, Client } from "@agentexec/core";
 *
 * async function newest(client: Client) {
 *   const options: ActivityListOptions = { taskName: "research_company", limit: 10 };
 *   return (await client.activity.list(options)).items;
 * }
 * ```
 */
export interface ActivityListOptions extends ActivityFilter {
  /**
   * How many at most, 1 to 1,000.
   *
   * @default {50}
   */
  readonly limit?: number;
  /**
   * The `next` of the page before.
   *
   * @default {undefined} (the first page)
   */
  readonly after?: string | null;
  /**
   * `"newest"`: the newest first. `"active"`: what runs, then what waits, then the rest, the newest of each first,
   * all as it was when the first page was read: an activity that moves on between two pages stays in its place and
   * is met once.
   *
   * @default {"newest"}
   */
  readonly order?: ActivityOrder;
}

/** The names of the options of a list. */
export const LIST_OPTIONS: readonly (keyof ActivityListOptions)[] = [
  ...FILTER_OPTIONS,
  "limit",
  "after",
  "order",
];

/**
 * Whose activity.
 *
 * @example
 * ```ts
 * import { type ActivityDetailOptions, Client } from "@agentexec/core";
 *
 * async function show(client: Client, agentId: string, org: string) {
 *   const options: ActivityDetailOptions = { metadata: { org } };
 *   return await client.activity.detail(agentId, options);
 * }
 * ```
 */
export interface ActivityDetailOptions {
  /**
   * What its metadata must have; of another one it is as if there was none of its id.
   *
   * @default {undefined} (whatever it has)
   */
  readonly metadata?: MetadataFilter | undefined;
}

/**
 * A page of activities, newest first.
 *
 * @example
 * ```ts
 * import { type ActivityPage, Client } from "@agentexec/core";
 *
 * async function* all(client: Client) {
 *   let after: ActivityPage["next"] = null;
 *   do {
 *     const page: ActivityPage = await client.activity.list({ after });
 *     yield* page.items;
 *     after = page.next;
 *   } while (after !== null);
 * }
 * ```
 */
export interface ActivityPage {
  /** The activities. */
  readonly items: readonly ActivityItem[];
  /** The cursor of the next page; null where this is the last. */
  readonly next: string | null;
}

/**
 * What `metrics` looks at.
 *
 * @example
 * ```ts
 * import { type ActivityMetricsOptions, Client } from "@agentexec/core";
 *
 * async function lastHour(client: Client) {
 *   const options: ActivityMetricsOptions = { since: new Date(Date.now() - 3_600_000) };
 *   return await client.activity.metrics(options);
 * }
 * ```
 */
export interface ActivityMetricsOptions {
  /**
   * Only tasks that were created, or ended, at or after this time. An index serves it: it costs what there is since
   * then, and `new Date(0)` reads the whole table.
   *
   * @default {undefined} (one hour ago, by the database's clock)
   */
  readonly since?: Date;
}

/**
 * Times of a number of tasks, in milliseconds.
 *
 * @example
 * ```ts
 * import type { ActivityTimes } from "@agentexec/core";
 *
 * function show({ mean, max }: ActivityTimes): string {
 *   return `${mean.toFixed(0)} ms on average, ${max.toFixed(0)} ms at most`;
 * }
 * ```
 */
export interface ActivityTimes {
  /** The mean. */
  readonly mean: number;
  /** The largest. */
  readonly max: number;
}

/**
 * What is counted for one task name.
 *
 * @example
 * ```ts
 * import type { TaskMetrics } from "@agentexec/core";
 *
 * function slowest(tasks: readonly TaskMetrics[]): string | undefined {
 *   return [...tasks].sort((a, b) => (b.run?.max ?? 0) - (a.run?.max ?? 0))[0]?.taskName;
 * }
 * ```
 */
export interface TaskMetrics {
  /** The task's name. */
  readonly taskName: string;
  /** How many are in each status. */
  readonly counts: Readonly<Partial<Record<ActivityStatus, number>>>;
  /** From being due until the (last) run started; null where none started. */
  readonly wait: ActivityTimes | null;
  /** From the start of the last run to the end; null where none ended. */
  readonly run: ActivityTimes | null;
}

/**
 * What `metrics` answers.
 *
 * @example
 * ```ts
 * import type { ActivityMetrics } from "@agentexec/core";
 *
 * function failureShare({ counts }: ActivityMetrics): number {
 *   const ended = (counts.complete ?? 0) + (counts.error ?? 0);
 *   return ended === 0 ? 0 : (counts.error ?? 0) / ended;
 * }
 * ```
 */
export interface ActivityMetrics {
  /** How many tasks are in each status. */
  readonly counts: Readonly<Partial<Record<ActivityStatus, number>>>;
  /** The same and times, per task name. */
  readonly tasks: readonly TaskMetrics[];
}
