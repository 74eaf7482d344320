/**
 * One group of writes, as one statement of Postgres or one transaction of SQLite. Each says the same: change the row
 * unless it has ended or is newer, add the log lines of what changed, and tell the state of what did not.
 *
 * @module
 */
import { type Kysely, sql } from "kysely";
import type { ActivityStatus, WriteOutcome } from "./activity.ts";
import type { Session } from "./session.ts";
import type { NumberedWrite } from "./writer.ts";

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

interface Before {
  readonly agent_id: string;
  readonly changed: boolean;
  readonly status: ActivityStatus | null;
  readonly token: string | null;
}

async function writePostgres(
  session: Session,
  writes: readonly NumberedWrite[],
): Promise<GroupOutcomes> {
  // The start of a run may be lost with the server's power: the task then starts again, which it may anyway.
  const lenient = writes.every(({ status }) => status === "running");
  const { rows } = await sql<Before>`
    with input as (
      select x.* from jsonb_to_recordset(${inputOf(writes)}::jsonb) as x(
        agent_id uuid, token bigint, seq int, status text, message text, percentage double precision,
        result text, error text, attempt int, failures int, crashes int, lapses int,
        first_status text, first_message text
      )
      where ${lenient ? sql`set_config('synchronous_commit', 'off', true) is not null` : sql`true`}
    ), changed as (
      update ${session.activity} as a set
        token = i.token,
        status = coalesce(i.status, a.status),
        message = coalesce(i.message, a.message),
        percentage = case when i.status in ('running', 'queued') then i.percentage
          else coalesce(i.percentage, a.percentage) end,
        result = coalesce(i.result::jsonb, a.result),
        error = coalesce(i.error, a.error),
        attempt = coalesce(i.attempt, a.attempt),
        failures = coalesce(i.failures, a.failures),
        crashes = coalesce(i.crashes, a.crashes),
        lapses = coalesce(i.lapses, a.lapses),
        queued_at = case when i.status = 'queued' then now() else a.queued_at end,
        started_at = case when i.status = 'running' then now() else a.started_at end,
        ended_at = case when i.status in ('complete', 'error', 'canceled') then now() else a.ended_at end
      from input i
      where a.agent_id = i.agent_id and a.kind = 'task'
        and a.status not in ('complete', 'error', 'canceled')
        and case when i.status is null then a.status = 'running' and a.token = i.token else a.token <= i.token end
      returning a.agent_id
    ), logged as (
      insert into ${session.log} (agent_id, token, seq, status, message, percentage, at)
      select i.agent_id, i.token, i.seq - 1, i.first_status, i.first_message, null, now()
      from input i join changed using (agent_id) where i.first_status is not null
      union all
      select i.agent_id, i.token, i.seq, coalesce(i.status, 'running'), i.message, i.percentage, now()
      from input i join changed using (agent_id)
      on conflict do nothing
    )
    select i.agent_id::text as agent_id, changed.agent_id is not null as changed, a.status, a.token::text as token
    from input i
    left join changed on changed.agent_id = i.agent_id
    left join ${session.activity} as a on a.agent_id = i.agent_id and a.kind = 'task'
  `.execute(session.db);
  const byId = new Map(rows.map((row) => [row.agent_id, row]));
  return new Map(writes.map((write) => [write.agentId, outcomeOf(write, byId.get(write.agentId))]));
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
  return await session.db.connection().execute(async (db) => {
    await sql`begin immediate`.execute(db);
    try {
      const outcomes = new Map<string, WriteOutcome>();
      for (const write of writes) outcomes.set(write.agentId, await writeOne(session, db, write));
      await sql`commit`.execute(db);
      return outcomes;
    } catch (error) {
      await sql`rollback`.execute(db);
      throw error;
    }
  });
}

async function writeOne(
  session: Session,
  db: Kysely<unknown>,
  write: NumberedWrite,
): Promise<WriteOutcome> {
  const {
    agentId,
    status = null,
    message = null,
    percentage = null,
    result = null,
    error = null,
    counters,
  } = write;
  const token = Number(write.token);
  const before = await stateOf(session, db, agentId);
  const { attempt = null, failures = null, crashes = null, lapses = null } = counters ?? {};
  const { rows } = await sql`
    update ${session.activity} set
      token = ${token},
      status = coalesce(${status}, status),
      message = coalesce(${message}, message),
      percentage = case when ${status} in ('running', 'queued') then ${percentage}
        else coalesce(${percentage}, percentage) end,
      result = coalesce(${result}, result),
      error = coalesce(${error}, error),
      attempt = coalesce(${attempt}, attempt),
      failures = coalesce(${failures}, failures),
      crashes = coalesce(${crashes}, crashes),
      lapses = coalesce(${lapses}, lapses),
      queued_at = case when ${status} = 'queued' then strftime('%Y-%m-%dT%H:%M:%fZ', 'now') else queued_at end,
      started_at = case when ${status} = 'running' then strftime('%Y-%m-%dT%H:%M:%fZ', 'now') else started_at end,
      ended_at = case when ${status} in ('complete', 'error', 'canceled')
        then strftime('%Y-%m-%dT%H:%M:%fZ', 'now') else ended_at end
    where agent_id = ${agentId} and kind = 'task' and status not in ('complete', 'error', 'canceled')
      and case when ${status} is null then status = 'running' and token = ${token} else token <= ${token} end
    returning agent_id`.execute(db);
  if (rows.length > 0) await logOne(session, db, write);
  return outcomeOf(
    write,
    before === undefined ? undefined : { ...before, changed: rows.length > 0 },
  );
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

async function stateOf(
  session: Session,
  db: Kysely<unknown>,
  agentId: string,
): Promise<Before | undefined> {
  const { rows } = await sql<Before>`
    select agent_id, status, cast(token as text) as token from ${session.activity}
    where agent_id = ${agentId} and kind = 'task'`.execute(db);
  return rows[0];
}

function outcomeOf(write: NumberedWrite, before: Before | undefined): WriteOutcome {
  if (before === undefined || (before.status === null && !before.changed)) {
    return { kind: "missing" };
  }
  if (before.changed) return { kind: "written" };
  const { status, token } = before;
  if (status === null || token === null) return { kind: "missing" };
  // The same write, made before by a statement whose answer was lost.
  if (write.status !== undefined && status === write.status && token === write.token) {
    return { kind: "written" };
  }
  return { kind: "refused", row: { status, token } };
}
