/**
 * What programs ask of activities: pages, one with its log, counts.
 *
 * @module
 */
import { sql } from "kysely";
import type {
  ActivityDetail,
  ActivityFilter,
  ActivityItem,
  ActivityKind,
  ActivityListOptions,
  ActivityLogEntry,
  ActivityPage,
  ActivityStatus,
} from "./activity.ts";
import { decodeCursor, encodeCursor } from "./cursor.ts";
import { jsonText, numberText, timeText, toDate, toDateOrNull, toNumberOrNull } from "./dialect.ts";
import { whereOf } from "./filters.ts";
import type { Session } from "./session.ts";

/** Where a count stops: beyond it nobody needs the exact number, and it would cost a scan. */
const COUNT_LIMIT = 10_000;
const DEFAULT_LIMIT = 50;
const MOST = 1_000;

interface StoredItem {
  readonly agent_id: string;
  readonly kind: ActivityKind;
  readonly queue: string | null;
  readonly task_name: string;
  readonly status: ActivityStatus;
  readonly attempt: number;
  readonly failures: number;
  readonly crashes: number;
  readonly lapses: number;
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
}

function itemColumns({ dialect }: Session) {
  const id = dialect === "postgres" ? sql`agent_id::text` : sql`agent_id`;
  // The cursor needs the time to the last digit, and a Date has no microseconds.
  const created = dialect === "postgres"
    ? sql`to_char(created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`
    : sql`created_at`;
  return sql`${id} as agent_id, kind, queue, task_name, status, attempt, failures, crashes, lapses,
    ${jsonText(dialect, "metadata")} as metadata, message,
    ${numberText(dialect, "percentage")} as percentage, error, ${created} as created_text,
    ${timeText(dialect, "run_at")} as run_at, ${timeText(dialect, "created_at")} as created_at,
    ${timeText(dialect, "queued_at")} as queued_at, ${
    timeText(dialect, "started_at")
  } as started_at,
    ${timeText(dialect, "ended_at")} as ended_at`;
}

function toItem(row: StoredItem): ActivityItem {
  return {
    agentId: row.agent_id,
    kind: row.kind,
    queue: row.queue,
    taskName: row.task_name,
    status: row.status,
    attempt: row.attempt,
    failures: row.failures,
    crashes: row.crashes,
    lapses: row.lapses,
    metadata: JSON.parse(row.metadata),
    message: row.message,
    percentage: toNumberOrNull(row.percentage),
    error: row.error,
    runAt: toDateOrNull(row.run_at),
    createdAt: toDate(row.created_at),
    queuedAt: toDateOrNull(row.queued_at),
    startedAt: toDateOrNull(row.started_at),
    endedAt: toDateOrNull(row.ended_at),
  };
}

/** A page, newest first. */
export async function listActivities(
  session: Session,
  options: ActivityListOptions,
): Promise<ActivityPage> {
  const { limit = DEFAULT_LIMIT, after, ...filter } = options;
  if (!Number.isInteger(limit) || limit < 1 || limit > MOST) {
    throw new RangeError(
      `Cannot list activities: 'limit' must be from 1 to ${MOST}, current value is ${limit}`,
    );
  }
  const behind = after === undefined || after === null ? undefined : decodeCursor(after);
  const { dialect } = session;
  const time = behind === undefined
    ? sql``
    : dialect === "postgres"
    ? sql`and (created_at, agent_id) < (cast(${behind.createdAt}::text as timestamptz), ${behind.agentId}::uuid)`
    : sql`and (created_at, agent_id) < (${behind.createdAt}, ${behind.agentId})`;
  const { rows } = await sql<StoredItem>`
    select ${itemColumns(session)} from ${session.activity}
    where ${whereOf(dialect, filter)} ${time}
    order by ${session.activity}.created_at desc, ${session.activity}.agent_id desc
    limit ${limit + 1}`.execute(session.reads);
  const page = rows.slice(0, limit);
  const last = page.at(-1);
  return {
    items: page.map(toItem),
    next: rows.length > limit && last !== undefined
      ? encodeCursor({ createdAt: last.created_text, agentId: last.agent_id })
      : null,
  };
}

interface StoredDetail extends StoredItem {
  readonly context: string | null;
  readonly result: string | null;
}

interface StoredLine {
  readonly status: ActivityStatus;
  readonly message: string | null;
  readonly percentage: number | string | null;
  readonly at: string;
}

/** One activity with its log; undefined where there is none. */
export async function readDetail(
  session: Session,
  agentId: string,
): Promise<ActivityDetail | undefined> {
  const { dialect } = session;
  const { rows } = await sql<StoredDetail>`
    select ${itemColumns(session)}, ${jsonText(dialect, "context")} as context, ${
    jsonText(dialect, "result")
  } as result
    from ${session.activity} where agent_id = ${agentId}`.execute(session.reads);
  const [row] = rows;
  if (row === undefined) return undefined;
  const lines = await sql<StoredLine>`
    select status, message, ${numberText(dialect, "percentage")} as percentage,
      ${timeText(dialect, "at")} as at from ${session.log}
    where agent_id = ${agentId} order by token, seq`.execute(session.reads);
  return {
    ...toItem(row),
    context: row.context === null ? null : JSON.parse(row.context),
    result: row.result === null ? null : JSON.parse(row.result),
    log: lines.rows.map((line): ActivityLogEntry => ({
      ...line,
      percentage: toNumberOrNull(line.percentage),
      at: toDate(line.at),
    })),
  };
}

/** How many there are, counted to 10,000. */
export async function countActivities(session: Session, filter: ActivityFilter): Promise<number> {
  const { rows } = await sql<{ count: number | string }>`
    select count(*) as count from (
      select 1 from ${session.activity} where ${
    whereOf(session.dialect, filter)
  } limit ${COUNT_LIMIT}
    ) as counted`.execute(session.reads);
  return Number(rows[0]?.count ?? 0);
}
