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
import type { ActivityDatabase } from "./database.ts";

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
  database: ActivityDatabase,
  agentId: string,
  { metadata }: ActivityDetailOptions = {},
): Promise<ActivityDetail | undefined> {
  const { dialect } = database;
  const { rows } = await sql<StoredDetail>`
    select ${itemColumns(database)}, ${jsonText(dialect, "context")} as context, ${
    jsonText(dialect, "result")
  } as result
    from ${database.activity} where agent_id = ${agentId}
      and ${whereOf(dialect, metadata === undefined ? {} : { metadata })}`.execute(database.reads);
  const [row] = rows;
  if (row === undefined) return undefined;
  const lines = await sql<StoredLine>`
    select status, message, ${numberText(dialect, "percentage")} as percentage,
      ${timeText(dialect, "at")} as at from ${database.log}
    where agent_id = ${agentId} order by token, seq`.execute(database.reads);
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
export async function countActivities(
  database: ActivityDatabase,
  filter: ActivityFilter,
): Promise<number> {
  const { rows } = await sql<{ count: number | string }>`
    select count(*) as count from (
      select 1 from ${database.activity} where ${
    whereOf(database.dialect, filter)
  } limit ${COUNT_LIMIT}
    ) as counted`.execute(database.reads);
  return Number(rows[0]?.count ?? 0);
}
