/**
 * What programs ask of activities: one with its log, counts.
 *
 * @module
 */
import { sql } from "kysely";
import type {
  ActivityDetail,
  ActivityDetailOptions,
  ActivityFilter,
  ActivityLogEntry,
  ActivityStatus,
} from "./activity.ts";
import { jsonText, numberText, timeText, toDate, toNumberOrNull } from "./dialect.ts";
import { whereOf } from "./filters.ts";
import { itemColumns, type StoredItem, toItem } from "./items.ts";
import type { Session } from "./session.ts";

/** Where a count stops: beyond it nobody needs the exact number, and it would cost a scan. */
const COUNT_LIMIT = 10_000;

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

/** One activity with its log; undefined if there is none, or its metadata is not as asked. */
export async function readDetail(
  session: Session,
  agentId: string,
  { metadata }: ActivityDetailOptions = {},
): Promise<ActivityDetail | undefined> {
  const { dialect } = session;
  const { rows } = await sql<StoredDetail>`
    select ${itemColumns(session)}, ${jsonText(dialect, "context")} as context, ${
    jsonText(dialect, "result")
  } as result
    from ${session.activity} where agent_id = ${agentId}
      and ${whereOf(dialect, metadata === undefined ? {} : { metadata })}`.execute(session.reads);
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
