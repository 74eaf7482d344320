/**
 * Counts and times per task name.
 *
 * @module
 */
import { sql } from "kysely";
import type {
  ActivityMetrics,
  ActivityMetricsOptions,
  ActivityStatus,
  ActivityTimes,
  TaskMetrics,
} from "./activity.ts";
import { millisecondsBetween, timeOf } from "./dialect.ts";
import type { Session } from "./session.ts";

interface StoredMetrics {
  readonly task_name: string;
  readonly status: ActivityStatus;
  readonly count: number | string;
  readonly waits: number | string;
  readonly wait_sum: number | null;
  readonly wait_max: number | null;
  readonly runs: number | string;
  readonly run_sum: number | null;
  readonly run_max: number | null;
}

/** Reads the metrics of tasks. */
export async function readMetrics(
  session: Session,
  options: ActivityMetricsOptions,
): Promise<ActivityMetrics> {
  const { dialect } = session;
  const { since } = options;
  const due = sql`case when run_at > queued_at then run_at else queued_at end`;
  const wait = millisecondsBetween(dialect, due, sql`started_at`);
  const run = millisecondsBetween(dialect, sql`started_at`, sql`ended_at`);
  const recent = since === undefined
    ? sql``
    : sql`and (created_at >= ${timeOf(dialect, since)} or ended_at >= ${timeOf(dialect, since)})`;
  const { rows } = await sql<StoredMetrics>`
    select task_name, status, count(*) as count,
      count(wait) as waits, sum(wait) as wait_sum, max(wait) as wait_max,
      count(run) as runs, sum(run) as run_sum, max(run) as run_max
    from (
      select task_name, status,
        case when started_at >= queued_at then ${wait} end as wait,
        case when ended_at >= started_at then ${run} end as run
      from ${session.activity} where kind = 'task' ${recent}
    ) as timed
    group by task_name, status order by task_name, status`.execute(session.db);
  const names = [...new Set(rows.map((row) => row.task_name))];
  return {
    counts: countsOf(rows),
    tasks: names.map((taskName) =>
      metricsOf(taskName, rows.filter((row) => row.task_name === taskName))
    ),
  };
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
      rows.map((row) => ({ count: Number(row.waits), sum: row.wait_sum, max: row.wait_max })),
    ),
    run: timesOf(
      rows.map((row) => ({ count: Number(row.runs), sum: row.run_sum, max: row.run_max })),
    ),
  };
}

interface Measured {
  readonly count: number;
  readonly sum: number | null;
  readonly max: number | null;
}

function timesOf(measured: readonly Measured[]): ActivityTimes | null {
  const count = measured.reduce((all, each) => all + each.count, 0);
  if (count === 0) return null;
  return {
    mean: measured.reduce((all, each) => all + (each.sum ?? 0), 0) / count,
    max: Math.max(...measured.map((each) => each.max ?? 0)),
  };
}
