/**
 * One group of writes, as one statement of Postgres or one transaction of SQLite. Each says the same: change the row
 * unless it has ended or is newer, add the log lines of what changed, and tell the state of what did not.
 *
 * @module
 */
import { type Kysely, sql } from "kysely";
import {
  type ActivityStatus,
  type ActivityWrite,
  TERMINAL,
  type WriteOutcome,
} from "./activity.ts";
import { nowOf } from "./dialect.ts";
import type { Session } from "./session.ts";

/** A write with its number under its token. */
export interface NumberedWrite extends ActivityWrite {
  /** The number of its log line; that of `logFirst` is one less. */
  readonly seq: number;
}

/** What became of each write, by task. */
export type GroupOutcomes = ReadonlyMap<string, WriteOutcome>;

/** Makes the writes, each of another task. */
export function writeGroup(
  session: Session,
  writes: readonly NumberedWrite[],
): Promise<GroupOutcomes> {
  return session.dialect === "postgres"
    ? writePostgres(session, writes)
    : writeSqlite(session, writes);
}

/** What a row said before, and what that means for the write. */
interface Before {
  readonly agent_id: string;
  /** `write`: it is to be changed; `same`: this very write has been there; `refuse`: it ended or is newer. */
  readonly verdict: "write" | "same" | "refuse";
  readonly status: ActivityStatus;
  readonly token: string;
}

/**
 * The rows are locked first, in the order of their ids, so that two writers never wait for each other; what
 * the lock reads is the newest state, which the snapshot of a statement that had to wait is not.
 */
async function writePostgres(
  session: Session,
  writes: readonly NumberedWrite[],
): Promise<GroupOutcomes> {
  // The start of a run may be lost with the server's power: the task then starts again, which it may anyway.
  const lenient = writes.every(({ status }) => status === "running");
  const { rows } = await sql<Before>`
    with input as materialized (
      select x.* from jsonb_to_recordset(cast(${inputOf(writes)}::text as jsonb)) as x(
        agent_id uuid, token bigint, seq int, status text, message text, percentage double precision,
        result text, error text, attempt int, failures int, crashes int, lapses int,
        first_status text, first_message text
      )
      where ${lenient ? sql`set_config('synchronous_commit', 'off', true) is not null` : sql`true`}
    ), locked as materialized (
      select a.agent_id, a.status, a.token from ${session.activity} as a
      where a.agent_id in (select agent_id from input) and a.kind = 'task'
      order by a.agent_id for update
    ), judged as materialized (
      select i.*, l.status as old_status, l.token as old_token, case
        when i.status is null then case
          when l.status = 'running' and l.token = i.token then 'write' else 'refuse' end
        when l.status = i.status and l.token = i.token then 'same'
        when l.status in ('complete', 'error', 'canceled') or l.token > i.token then 'refuse'
        else 'write' end as verdict
      from input i join locked l on l.agent_id = i.agent_id
    ), changed as (
      update ${session.activity} as a set
        token = i.token,
        status = coalesce(i.status, a.status),
        message = coalesce(i.message, a.message),
        percentage = case
          when i.status in ('running', 'queued') then i.percentage
          when i.status = 'complete' then coalesce(i.percentage, 100)
          else coalesce(i.percentage, a.percentage) end,
        result = coalesce(i.result::jsonb, a.result),
        error = case when i.status = 'complete' then i.error else coalesce(i.error, a.error) end,
        attempt = coalesce(i.attempt, a.attempt),
        failures = coalesce(i.failures, a.failures),
        crashes = coalesce(i.crashes, a.crashes),
        lapses = coalesce(i.lapses, a.lapses),
        queued_at = case when i.status = 'queued' then now() else a.queued_at end,
        started_at = case when i.status = 'running' then now() else a.started_at end,
        ended_at = case when i.status in ('complete', 'error', 'canceled') then now() else a.ended_at end
      from judged i
      where a.agent_id = i.agent_id and i.verdict = 'write'
    ), logged as (
      insert into ${session.log} (agent_id, token, seq, status, message, percentage, at)
      select agent_id, token, seq - 1, first_status, first_message, null, now()
      from judged where verdict = 'write' and first_status is not null
      union all
      select agent_id, token, seq, coalesce(status, 'running'), message, percentage, now()
      from judged where verdict = 'write'
      on conflict do nothing
    )
    select agent_id::text as agent_id, verdict, old_status as status, old_token::text as token from judged
  `.execute(session.db);
  const byId = new Map(rows.map((row) => [row.agent_id, row]));
  return new Map(
    writes.map((write) => [write.agentId, outcomeOf(byId.get(write.agentId.toLowerCase()))]),
  );
}

/** The writes as one JSON text. A result goes in as text, so that a result of null is one. */
function inputOf(writes: readonly NumberedWrite[]): string {
  return JSON.stringify(writes.map(({ agentId, counters, logFirst, ...write }) => ({
    agent_id: agentId,
    ...write,
    ...counters,
    first_status: logFirst?.status,
    first_message: logFirst?.message,
  })));
}

async function writeSqlite(
  session: Session,
  writes: readonly NumberedWrite[],
): Promise<GroupOutcomes> {
  return await session.transaction(async (db) => {
    const outcomes = new Map<string, WriteOutcome>();
    for (const write of writes) {
      const before = await judge(session, db, write);
      if (before?.verdict === "write") await writeOne(session, db, write);
      outcomes.set(write.agentId, outcomeOf(before));
    }
    return outcomes;
  });
}

async function judge(
  session: Session,
  db: Kysely<unknown>,
  write: NumberedWrite,
): Promise<Before | undefined> {
  const { rows } = await sql<Omit<Before, "verdict">>`
    select agent_id, status, cast(token as text) as token from ${session.activity}
    where agent_id = ${write.agentId} and kind = 'task'`.execute(db);
  const [row] = rows;
  return row === undefined ? undefined : { ...row, verdict: verdictOf(row, write) };
}

function verdictOf(row: Omit<Before, "verdict">, { status, token }: NumberedWrite) {
  if (status === undefined) {
    return row.status === "running" && row.token === token ? "write" : "refuse";
  }
  if (row.status === status && row.token === token) return "same";
  return TERMINAL.includes(row.status) || BigInt(row.token) > BigInt(token) ? "refuse" : "write";
}

async function writeOne(
  session: Session,
  db: Kysely<unknown>,
  write: NumberedWrite,
): Promise<void> {
  const {
    agentId,
    status = null,
    message = null,
    percentage = null,
    result = null,
    error = null,
    counters,
  } = write;
  const { attempt = null, failures = null, crashes = null, lapses = null } = counters ?? {};
  const now = nowOf(session.dialect);
  await sql`
    update ${session.activity} set
      token = ${Number(write.token)},
      status = coalesce(${status}, status),
      message = coalesce(${message}, message),
      percentage = case
        when ${status} in ('running', 'queued') then ${percentage}
        when ${status} = 'complete' then coalesce(${percentage}, 100)
        else coalesce(${percentage}, percentage) end,
      result = coalesce(json(${result}), result),
      error = case when ${status} = 'complete' then ${error} else coalesce(${error}, error) end,
      attempt = coalesce(${attempt}, attempt),
      failures = coalesce(${failures}, failures),
      crashes = coalesce(${crashes}, crashes),
      lapses = coalesce(${lapses}, lapses),
      queued_at = case when ${status} = 'queued' then ${now} else queued_at end,
      started_at = case when ${status} = 'running' then ${now} else started_at end,
      ended_at = case when ${status} in ('complete', 'error', 'canceled') then ${now} else ended_at end
    where agent_id = ${agentId}`.execute(db);
  await logOne(session, db, write);
}

async function logOne(session: Session, db: Kysely<unknown>, write: NumberedWrite): Promise<void> {
  const { agentId, seq, status = "running", message = null, percentage = null, logFirst } = write;
  const token = Number(write.token);
  if (logFirst !== undefined) {
    await sql`insert into ${session.log} (agent_id, token, seq, status, message)
      values (${agentId}, ${token}, ${seq - 1}, ${logFirst.status}, ${logFirst.message})
      on conflict do nothing`.execute(db);
  }
  await sql`insert into ${session.log} (agent_id, token, seq, status, message, percentage)
    values (${agentId}, ${token}, ${seq}, ${status}, ${message}, ${percentage})
    on conflict do nothing`.execute(db);
}

function outcomeOf(before: Before | undefined): WriteOutcome {
  if (before === undefined) return { kind: "missing" };
  const { verdict, status, token } = before;
  return verdict === "refuse" ? { kind: "refused", row: { status, token } } : { kind: "written" };
}
