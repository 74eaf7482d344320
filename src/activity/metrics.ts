/**
 * Counts and times per task name.
 *
 * @module
 */
import { type RawBuilder, sql } from "kysely";
import { checkDate } from "../task/dates.ts";
import type {
  ActivityMetrics,
  ActivityMetricsOptions,
  ActivityStatus,
  ActivityTimes,
  TaskMetrics,
} from "./activity.ts";
import { millisecondsBetween, timeOf } from "./dialect.ts";
import type { ActivityDatabase } from "./database.ts";

interface StoredMetrics {
  readonly task_name: string;
  readonly status: ActivityStatus;
  readonly count: number | string;
  readonly waits: number | string;
  readonly wait_sum: number | string | null;
  readonly wait_max: number | string | null;
  readonly runs: number | string;
  readonly run_sum: number | string | null;
  readonly run_max: number | string | null;
}

/** How far back metrics go by default. */
const STANDARD_MS = 3_600_000;

/** Reads the metrics of tasks. */
export async function readMetrics(
  database: ActivityDatabase,
  options: ActivityMetricsOptions,
): Promise<ActivityMetrics> {
  const { rows } = await metricsQuery(database, options).execute(database.reads);
  const names = [...new Set(rows.map((row) => row.task_name))];
  return {
    counts: countsOf(rows),
    tasks: names.map((taskName) =>
      metricsOf(taskName, rows.filter((row) => row.task_name === taskName))
    ),
  };
}

/**
 * The statement. The tasks that were created since then and those that ended since then are read one after the other,
 * so that each part is a range of one index on either database, however large the table is.
 */
export function metricsQuery(
  database: ActivityDatabase,
  { since }: ActivityMetricsOptions,
): RawBuilder<StoredMetrics> {
  const { dialect } = database;
  const from = since === undefined
    ? database.ago(STANDARD_MS)
    : timeOf(dialect, checkDate(since, "since"));
  const due = sql`case when run_at > queued_at then run_at else queued_at end`;
  const wait = millisecondsBetween(dialect, due, sql`started_at`);
  const run = millisecondsBetween(dialect, sql`started_at`, sql`ended_at`);
  const timed = sql`
    select task_name, status,
      case when started_at >= queued_at then ${wait} end as wait,
      case when ended_at >= started_at then ${run} end as run
    from ${database.activity} where kind = 'task'`;
  return sql<StoredMetrics>`
    select task_name, status, count(*) as count,
      count(wait) as waits, sum(wait) as wait_sum, max(wait) as wait_max,
      count(run) as runs, sum(run) as run_sum, max(run) as run_max
    from (
      ${timed} and created_at >= ${from}
      union all
      ${timed} and ended_at >= ${from} and created_at < ${from}
    ) as timed
    group by task_name, status order by task_name, status`;
}

function countsOf(rows: readonly StoredMetrics[]): Partial<Record<ActivityStatus, number>> {
  const counts: Partial<Record<ActivityStatus, number>> = {};
  for (const { status, count } of rows) counts[status] = (counts[status] ?? 0) + Number(count);
  return counts;
}

function metricsOf(taskName: string, rows: readonly StoredMetrics[]): TaskMetrics {
  return {
    taskName,
    counts: countsOf(rows),
    wait: timesOf(
      rows.map((row) => ({ count: row.waits, sum: row.wait_sum, max: row.wait_max })),
    ),
    run: timesOf(
      rows.map((row) => ({ count: row.runs, sum: row.run_sum, max: row.run_max })),
    ),
  };
}

/** Counts and sums that a database gives as text are exact ones. */
interface Measured {
  readonly count: number | string;
  readonly sum: number | string | null;
  readonly max: number | string | null;
}

function timesOf(measured: readonly Measured[]): ActivityTimes | null {
  const count = measured.reduce((all, each) => all + Number(each.count), 0);
  if (count === 0) return null;
  return {
    mean: measured.reduce((all, each) => all + Number(each.sum), 0) / count,
    max: Math.max(...measured.map((each) => Number(each.max))),
  };
}
