/**
 * Pages of activities, in either order.
 *
 * @module
 */
import { type RawBuilder, sql } from "kysely";
import { sleep } from "../clock.ts";
import type { ActivityFilter, ActivityListOptions, ActivityPage } from "./activity.ts";
import {
  type ActivePosition,
  decodeActiveCursor,
  decodeCursor,
  encodeActiveCursor,
  encodeCursor,
  type Position,
} from "./cursor.ts";
import { whereOf } from "./filters.ts";
import { itemColumns, type StoredItem, toItem } from "./items.ts";
import type { ActivityDatabase } from "./database.ts";

const DEFAULT_LIMIT = 50;
const MOST = 1_000;

/** A page. */
export async function listActivities(
  database: ActivityDatabase,
  options: ActivityListOptions,
): Promise<ActivityPage> {
  const { limit = DEFAULT_LIMIT, after, order = "newest", ...filter } = options;
  if (!Number.isInteger(limit) || limit < 1 || limit > MOST) {
    throw new RangeError(
      `Cannot list activities: 'limit' must be from 1 to ${MOST}, current value is ${limit}`,
    );
  }
  const cursor = after ?? undefined;
  switch (order) {
    case "newest":
      return await newestPage(database, filter, {
        limit,
        behind: cursor === undefined ? undefined : decodeCursor(cursor),
      });
    case "active":
      return await activePage(database, filter, {
        limit,
        behind: cursor === undefined ? undefined : decodeActiveCursor(cursor),
      });
    default:
      throw new TypeError(
        `Cannot list activities: 'order' must be "newest" or "active", current value is ${
          JSON.stringify(order satisfies never) ?? String(order)
        }`,
      );
  }
}

interface Page<At extends Position> {
  readonly limit: number;
  readonly behind: At | undefined;
}

async function newestPage(
  database: ActivityDatabase,
  filter: ActivityFilter,
  { limit, behind }: Page<Position>,
): Promise<ActivityPage> {
  const { rows } = await sql<StoredItem>`
    select ${itemColumns(database)} from ${database.activity}
    where ${whereOf(database.dialect, filter)}
      ${behind === undefined ? sql`` : sql`and ${isBehind(database, behind)}`}
    ${newestFirst(database)} limit ${limit + 1}`.execute(database.reads);
  const page = rows.slice(0, limit);
  const last = page.at(-1);
  return {
    items: page.map(toItem),
    next: rows.length > limit && last !== undefined
      ? encodeCursor({ createdAt: last.created_text, agentId: last.agent_id })
      : null,
  };
}

interface Amount {
  /** Whether they are few rows: SQLite, which keeps no statistics, is then kept from walking the index in order. */
  readonly few?: boolean;
}

function newestFirst(
  { activity, dialect }: ActivityDatabase,
  { few }: Amount = {},
): RawBuilder<unknown> {
  const [time, id] = [sql`${activity}.created_at`, sql`${activity}.agent_id`];
  return few && dialect === "sqlite"
    ? sql`order by +${time} desc, +${id} desc`
    : sql`order by ${time} desc, ${id} desc`;
}

function isBehind(
  { dialect }: ActivityDatabase,
  { createdAt, agentId }: Position,
  { few }: Amount = {},
): RawBuilder<unknown> {
  if (dialect === "postgres") {
    return sql`(created_at, agent_id) < (cast(${createdAt}::text as timestamptz), ${agentId}::uuid)`;
  }
  return few
    ? sql`(+created_at, +agent_id) < (${createdAt}, ${agentId})`
    : sql`(created_at, agent_id) < (${createdAt}, ${agentId})`;
}

interface StoredActiveItem extends StoredItem {
  readonly place: number;
  readonly as_of: string;
}

/** What runs, what waits, the rest. */
const GROUPS = [0, 1, 2] as const;
const NUMBERS = [sql`0`, sql`1`, sql`2`] as const;

/** A part of what a page is taken from. */
interface Part {
  readonly group: (typeof GROUPS)[number];
  readonly condition: RawBuilder<unknown>;
  /** Whether it is few rows, found by an index of their own and sorted then; else the index in order is walked. */
  readonly few: boolean;
}

/**
 * One statement, so that an activity which moves on while it is read is met in one group. Each group is read by
 * itself, by an index of its own; in one sorted by status the whole table would have to be read and sorted.
 */
async function activePage(
  database: ActivityDatabase,
  filter: ActivityFilter,
  { limit, behind }: Page<ActivePosition>,
): Promise<ActivityPage> {
  const { dialect } = database;
  const asOf = behind === undefined ? nowText(database) : sql`${behind.asOf}`;
  const wanted = behind === undefined ? partsNow() : partsThen(database, behind);
  const parts = wanted.map((part, index) => {
    const { group, condition } = part;
    return sql`select * from (
      select ${NUMBERS[group]} as place, cast(${asOf} as text) as as_of, ${itemColumns(database)}
      from ${database.activity} where ${whereOf(dialect, filter)} and ${condition}
      ${newestFirst(database, part)} limit ${limit + 1}
    ) as ${sql.ref(`part_${index}`)}`;
  });
  const { rows } = await sql<StoredActiveItem>`
    select * from (${sql.join(parts, sql` union all `)}) as page
    order by place, created_text desc, agent_id desc limit ${limit + 1}`.execute(database.reads);
  const page = rows.slice(0, limit);
  const last = page.at(-1);
  if (rows.length <= limit || last === undefined) return { items: page.map(toItem), next: null };
  // SQLite knows no less than milliseconds: what happens after this page must not have its time.
  if (behind === undefined && dialect === "sqlite") await sleep(1);
  return {
    items: page.map(toItem),
    next: encodeActiveCursor({
      group: last.place,
      asOf: last.as_of,
      createdAt: last.created_text,
      agentId: last.agent_id,
    }),
  };
}

function nowText(database: ActivityDatabase): RawBuilder<unknown> {
  return database.dialect === "postgres"
    ? sql`to_char(now() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`
    : database.now();
}

/** As the index over what lives is declared, so that both databases use it. */
const LIVE = sql`status in ('queued', 'running')`;
const ENDED = sql`status not in ('queued', 'running')`;

function partsNow(): readonly Part[] {
  return [
    { group: 0, condition: sql`${LIVE} and status = 'running'`, few: true },
    { group: 1, condition: sql`${LIVE} and status = 'queued'`, few: true },
    { group: 2, condition: ENDED, few: false },
  ];
}

/** What was in each group when the first page was read, as the times of the rows tell, and stands behind the last. */
function partsThen(database: ActivityDatabase, behind: ActivePosition): readonly Part[] {
  const then = database.dialect === "postgres"
    ? sql`cast(${behind.asOf}::text as timestamptz)`
    : sql`${behind.asOf}`;
  const queuedAt = sql`coalesce(queued_at, created_at)`;
  // A run that has gone back to the queue since then still ran.
  const ran = sql`case when started_at <= ${then} and
    (${queuedAt} > ${then} or ${queuedAt} <= started_at) then 1 else 0 end`;
  return GROUPS.filter((group) => group >= behind.group).flatMap((group): Part[] => {
    const few = group < 2;
    const place = group === behind.group
      ? isBehind(database, behind, { few })
      : sql`created_at <= ${then}`;
    if (!few) {
      const condition = sql`${ENDED} and (ended_at is null or ended_at <= ${then}) and ${place}`;
      return [{ group, condition, few }];
    }
    const wanted = sql`${ran} = ${group === 0 ? sql`1` : sql`0`} and ${place}`;
    return [
      { group, condition: sql`${LIVE} and ${wanted}`, few },
      { group, condition: sql`${ENDED} and ended_at > ${then} and ${wanted}`, few },
    ];
  });
}
