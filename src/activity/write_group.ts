/**
 * One group of writes, as one statement of Postgres or one transaction of SQLite. Each says the same: change the row
 * unless it has ended or is newer, add the log lines of what changed, and tell the state of what did not.
 *
 * @module
 */
import { type Kysely, type RawBuilder, sql } from "kysely";
import { COUNTERS } from "../task/counters.ts";
import type { ActivityStatus } from "./activity.ts";
import { detailJson } from "./error_text.ts";
import type { ActivityWrite, WriteOutcome } from "./rows.ts";
import { idIn } from "./dialect.ts";
import type { ActivityDatabase } from "./database.ts";

const COUNTER_TYPES = sql.join(COUNTERS.map((name) => sql`${sql.id(name)} int`));
const COUNTER_VALUES = sql.join(
  COUNTERS.map((name) => sql`value->>${name} as ${sql.id(name)}`),
);
const COUNTER_CHANGES = sql.join(
  COUNTERS.map((name) =>
    sql`${sql.id(name)} = coalesce(${sql.id("i", name)}, ${sql.id("a", name)})`
  ),
);

/** A write with its number under its token. */
export interface NumberedWrite extends ActivityWrite {
  /** The number of its log line. */
  readonly seq: number;
  /** The task's last progress, which an end takes along: a log line of its own, and what the end itself leaves open. */
  readonly progress?: ProgressLine;
}

/** Progress that goes out together with the end of its task. */
export interface ProgressLine {
  /** The number of its log line. */
  readonly seq: number;
  /** Its message. */
  readonly message: string | undefined;
  /** Its percentage. */
  readonly percentage: number | undefined;
}

/** What became of one write: `locked` where another transaction holds its row, and nothing was changed. */
export type GroupOutcome = WriteOutcome | { readonly kind: "locked" };

/** What became of each write, by task. */
export type GroupOutcomes = ReadonlyMap<string, GroupOutcome>;

/** Makes the writes, each of another task. */
export function writeGroup(
  database: ActivityDatabase,
  writes: readonly NumberedWrite[],
): Promise<GroupOutcomes> {
  return database.dialect === "postgres"
    ? writePostgres(database, writes)
    : writeSqlite(database, writes);
}

/** What a row said before, and what that means for the write. */
interface Before {
  readonly agent_id: string;
  /**
   * `write`: it is to be changed; `same`: this very write has been there; `refuse`: it ended or is newer; `locked`:
   * another transaction holds the row, and it was not judged.
   */
  readonly verdict: "write" | "same" | "refuse" | "locked";
  readonly status: ActivityStatus;
  readonly token: string;
}

/**
 * The rows are locked first; what the lock reads is the newest state, which the statement's snapshot may not be. Rows
 * that another transaction holds are skipped, so that no write waits for a row that is not its own, and told from
 * those that are not there by a look without a lock. Somebody's foreign key to a row is no reason to skip it: what is
 * changed is never the key.
 */
async function writePostgres(
  database: ActivityDatabase,
  writes: readonly NumberedWrite[],
): Promise<GroupOutcomes> {
  // The start of a run may be lost with the server's power: the task then starts again, which it may anyway.
  const lenient = writes.every(({ status }) => status === "running");
  const { rows } = await sql<Before>`
    with input as materialized (
      select x.* from jsonb_to_recordset(cast(${inputOf(writes)}::text as jsonb)) as x(
        agent_id uuid, token bigint, seq int, status text, message text, percentage double precision,
        result text, error text, error_name text, error_detail text, ${COUNTER_TYPES},
        progress_seq int, progress_message text, progress_percentage double precision
      )
      where ${lenient ? sql`set_config('synchronous_commit', 'off', true) is not null` : sql`true`}
    ), locked as materialized (
      select a.agent_id, a.status, a.token from ${database.activity} as a
      where a.agent_id in (select agent_id from input) and a.kind = 'task'
      order by a.agent_id for no key update skip locked
    ), judged as materialized (
      select i.*, l.status as old_status, l.token as old_token, case
        when i.status is null then case
          when l.status = 'running' and l.token = i.token then 'write' else 'refuse' end
        when l.status = i.status and l.token = i.token then 'same'
        when l.status in ('complete', 'error', 'canceled') or l.token > i.token then 'refuse'
        else 'write' end as verdict
      from input i join locked l on l.agent_id = i.agent_id
    ), changed as (
      update ${database.activity} as a set
        ${
    changes({ result: sql`i.result::jsonb`, detail: sql`i.error_detail::jsonb`, now: sql`now()` })
  }
      from judged i
      where a.agent_id = i.agent_id and i.verdict = 'write'
    ), logged as (
      insert into ${database.log} (agent_id, token, seq, status, message, percentage, at)
      select agent_id, token, seq, coalesce(status, 'running'), message, percentage, now()
      from judged where verdict = 'write'
      union all
      select agent_id, token, progress_seq, 'running', progress_message, progress_percentage, now()
      from judged where verdict = 'write' and progress_seq is not null
      on conflict do nothing
    )
    select agent_id::text as agent_id, verdict, old_status as status, old_token::text as token from judged
    union all
    select a.agent_id::text, 'locked', a.status, a.token::text from ${database.activity} as a
    where a.agent_id in (select agent_id from input except select agent_id from locked) and a.kind = 'task'
  `.execute(database.db);
  const byId = new Map(rows.map((row) => [row.agent_id, row]));
  return new Map(
    writes.map((write) => [write.agentId, outcomeOf(byId.get(write.agentId.toLowerCase()))]),
  );
}

interface Changed {
  /** The result as a value of its column. */
  readonly result: RawBuilder<unknown>;
  /** The failure's message and stack as a value of theirs. */
  readonly detail: RawBuilder<unknown>;
  /** The time. */
  readonly now: RawBuilder<unknown>;
}

/** What a write `i` makes of a row `a`. */
function changes({ result, detail, now }: Changed): RawBuilder<unknown> {
  return sql`
    updated_at = ${now},
    token = i.token,
    status = coalesce(i.status, a.status),
    message = coalesce(i.message, i.progress_message, a.message),
    percentage = case
      when i.status in ('running', 'queued') then i.percentage
      when i.status = 'complete' then coalesce(i.percentage, 100)
      else coalesce(i.percentage, i.progress_percentage, a.percentage) end,
    result = coalesce(${result}, a.result),
    error = case when i.status = 'complete' then i.error else coalesce(i.error, a.error) end,
    error_name = case when i.status = 'complete' or i.error is not null then i.error_name else a.error_name end,
    error_detail = case when i.status = 'complete' or i.error is not null then ${detail} else a.error_detail end,
    ${COUNTER_CHANGES},
    queued_at = case when i.status = 'queued' then ${now} else a.queued_at end,
    started_at = case when i.status = 'running' then ${now} else a.started_at end,
    ended_at = case when i.status in ('complete', 'error', 'canceled') then ${now} else a.ended_at end`;
}

/** The writes as one JSON text. A result goes in as text, so that a result of null is one. */
function inputOf(writes: readonly NumberedWrite[]): string {
  return JSON.stringify(
    writes.map(({ agentId, counters, failure, progress, closesAttempt: _, ...write }) => ({
      agent_id: agentId,
      ...write,
      error_name: failure?.name,
      error_detail: detailJson(failure),
      ...counters,
      progress_seq: progress?.seq,
      progress_message: progress?.message,
      progress_percentage: progress?.percentage,
    })),
  );
}

/**
 * Three statements however many writes, the last of which is seldom needed. The writer's lock, which the
 * transaction has from its beginning, keeps the rows as they are between them.
 */
async function writeSqlite(
  database: ActivityDatabase,
  writes: readonly NumberedWrite[],
): Promise<GroupOutcomes> {
  return await database.transaction(async (db) => {
    const changed = await changeSqlite(database, db, writes);
    await logSqlite(database, db, writes.filter(({ agentId }) => changed.has(agentId)));
    const unchanged = writes.filter(({ agentId }) => !changed.has(agentId));
    const before = await judgeSqlite(database, db, unchanged);
    return new Map(writes.map(({ agentId }) => [
      agentId,
      changed.has(agentId) ? { kind: "written" } : outcomeOf(before.get(agentId)),
    ]));
  });
}

/** Changes the rows that may be changed; answers with their ids. */
async function changeSqlite(
  database: ActivityDatabase,
  db: Kysely<unknown>,
  writes: readonly NumberedWrite[],
): Promise<ReadonlySet<string>> {
  const now = database.now();
  const { rows } = await sql<{ readonly agent_id: string }>`
    with input as materialized (
      select value->>'agent_id' as agent_id, cast(value->>'token' as integer) as token,
        value->>'status' as status, value->>'message' as message, value->>'percentage' as percentage,
        json(value->>'result') as result, value->>'error' as error,
        value->>'error_name' as error_name, json(value->>'error_detail') as error_detail,
        ${COUNTER_VALUES},
        value->>'progress_message' as progress_message, value->>'progress_percentage' as progress_percentage
      from json_each(${inputOf(writes)})
    )
    update ${database.activity} as a set
      ${changes({ result: sql`i.result`, detail: sql`i.error_detail`, now })}
    from input as i
    where a.agent_id = i.agent_id and a.kind = 'task' and case
      when i.status is null then a.status = 'running' and a.token = i.token
      when a.status = i.status and a.token = i.token then false
      else a.status not in ('complete', 'error', 'canceled') and a.token <= i.token end
    returning agent_id`.execute(db);
  return new Set(rows.map((row) => row.agent_id));
}

async function logSqlite(
  database: ActivityDatabase,
  db: Kysely<unknown>,
  writes: readonly NumberedWrite[],
): Promise<void> {
  if (writes.length === 0) return;
  const lines = writes.flatMap(({ agentId, token, seq, status, message, percentage, progress }) => [
    ...(progress === undefined
      ? []
      : [[agentId, token, progress.seq, "running", progress.message, progress.percentage]]),
    [agentId, token, seq, status ?? "running", message, percentage],
  ]);
  await sql`
    insert into ${database.log} (agent_id, token, seq, status, message, percentage, at)
    select value->>0, cast(value->>1 as integer), value->>2, value->>3, value->>4, value->>5,
      ${database.now()}
    from json_each(${JSON.stringify(lines)}) where true
    on conflict do nothing`.execute(db);
}

/** What the rows say that were not changed. */
async function judgeSqlite(
  database: ActivityDatabase,
  db: Kysely<unknown>,
  writes: readonly NumberedWrite[],
): Promise<ReadonlyMap<string, Before>> {
  if (writes.length === 0) return new Map();
  const ids = writes.map(({ agentId }) => agentId);
  const { rows } = await sql<Omit<Before, "verdict">>`
    select agent_id, status, cast(token as text) as token from ${database.activity}
    where ${idIn(database.dialect, ids)} and kind = 'task'`.execute(db);
  const byId = new Map(writes.map((write) => [write.agentId, write]));
  return new Map(rows.map((row) => {
    const write = byId.get(row.agent_id);
    const same = row.status === write?.status && row.token === write.token;
    return [row.agent_id, { ...row, verdict: same ? "same" : "refuse" }];
  }));
}

function outcomeOf(before: Before | undefined): GroupOutcome {
  if (before === undefined) return { kind: "missing" };
  const { verdict, status, token } = before;
  if (verdict === "locked") return { kind: "locked" };
  return verdict === "refuse" ? { kind: "refused", row: { status, token } } : { kind: "written" };
}
