/**
 * Items: activities as lists and details show them.
 *
 * @module
 */
import { sql } from "kysely";
import { COUNTERS, type Counters, countersOf } from "../task/counters.ts";
import type { ActivityFailure, ActivityItem, ActivityKind, ActivityStatus } from "./activity.ts";
import { jsonText, numberText, timeText, toDate, toDateOrNull, toNumberOrNull } from "./dialect.ts";
import type { ActivityDatabase } from "./database.ts";

/** An item as a statement gives it. */
export interface StoredItem extends Counters {
  readonly agent_id: string;
  readonly kind: ActivityKind;
  readonly queue: string | null;
  readonly task_name: string;
  readonly status: ActivityStatus;
  readonly metadata: string;
  readonly message: string | null;
  readonly percentage: number | string | null;
  readonly error: string | null;
  readonly run_at: string | null;
  readonly created_at: string;
  readonly created_text: string;
  readonly queued_at: string | null;
  readonly started_at: string | null;
  readonly ended_at: string | null;
  readonly updated_at: string | null;
  readonly error_name: string | null;
  readonly error_detail: string | null;
}

const TIMES = ["run_at", "created_at", "queued_at", "started_at", "ended_at", "updated_at"];

/** The columns of an item. */
export function itemColumns({ dialect }: ActivityDatabase) {
  const id = dialect === "postgres" ? sql`agent_id::text` : sql`agent_id`;
  // The cursor needs the time to the last digit, and a Date has no microseconds.
  const created = dialect === "postgres"
    ? sql`to_char(created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`
    : sql`created_at`;
  return sql`${id} as agent_id, kind, queue, task_name, status, ${
    sql.join(COUNTERS.map((name) => sql.ref(name)))
  },
    ${jsonText(dialect, "metadata")} as metadata, message,
    ${numberText(dialect, "percentage")} as percentage, error, error_name,
    ${jsonText(dialect, "error_detail")} as error_detail, ${created} as created_text,
    ${sql.join(TIMES.map((name) => sql`${timeText(dialect, name)} as ${sql.ref(name)}`))}`;
}

/** The item of a row. */
export function toItem(row: StoredItem): ActivityItem {
  return {
    agentId: row.agent_id,
    kind: row.kind,
    queue: row.queue,
    taskName: row.task_name,
    status: row.status,
    ...countersOf(row),
    metadata: JSON.parse(row.metadata),
    message: row.message,
    percentage: toNumberOrNull(row.percentage),
    error: row.error,
    runAt: toDateOrNull(row.run_at),
    createdAt: toDate(row.created_at),
    queuedAt: toDateOrNull(row.queued_at),
    startedAt: toDateOrNull(row.started_at),
    endedAt: toDateOrNull(row.ended_at),
    failure: failureOf(row),
    updatedAt: updatedAtOf(row),
  };
}

/** A version of the library that knows no parts opens a row again by its text alone. */
function failureOf({ error, error_name, error_detail }: StoredItem): ActivityFailure | null {
  if (error === null || error_name === null || error_detail === null) return null;
  const { message, stack }: Omit<ActivityFailure, "name"> = JSON.parse(error_detail);
  return { name: error_name, message, stack };
}

/** The newest of its times: versions of the library that know no `updated_at` write the others. */
function updatedAtOf(row: StoredItem): Date {
  const times = [row.updated_at, row.ended_at, row.started_at, row.queued_at]
    .map((time) => toDateOrNull(time)?.getTime() ?? 0);
  return new Date(Math.max(toDate(row.created_at).getTime(), ...times));
}
