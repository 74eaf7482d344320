/**
 * Rows of tasks: made, refused, read and canceled.
 *
 * @module
 */
import { type RawBuilder, sql } from "kysely";
import type { ActivityStatus, InsertOutcome, NewTaskRow, RowState, TaskRow } from "./activity.ts";
import { jsonOf, jsonText, millisecondsBetween, nowOf, timeOf, toDateOrNull } from "./dialect.ts";
import type { Session } from "./session.ts";

/** What a row says of a task whose push to the broker failed: it never ran, and may be enqueued again. */
export const NOT_ACCEPTED = "not accepted";

/** A live task, as `cancelPending` looks at it. */
export interface LiveTask {
  /** Its id. */
  readonly agentId: string;
  /** `queued` or `running`. */
  readonly status: ActivityStatus;
  /** How long it has waited, in milliseconds, by the database's clock. */
  readonly queuedAgeMs: number;
}

/** Which live tasks. */
export interface LiveTasksOptions {
  /** Those of this queue. */
  readonly queue: string;
  /** Those behind this id. */
  readonly after?: string | undefined;
  /** How many at most. */
  readonly limit: number;
}

/** Makes the rows of tasks that are about to be pushed. One that is there already is left, and told. */
export async function insertTasks(
  session: Session,
  rows: readonly NewTaskRow[],
  message: string,
): Promise<readonly InsertOutcome[]> {
  if (rows.length === 0) return [];
  const made = await insertRows(session, rows, message);
  const others = rows.filter(({ agentId }) => !made.has(agentId));
  const known = new Map<string, Known>();
  if (others.length > 0) {
    for (const agentId of await reopen(session, others, message)) made.add(agentId);
    const ids = others.map(({ agentId }) => agentId).filter((id) => !made.has(id));
    for (const row of await readKnown(session, ids)) known.set(row.agent_id, row);
  }
  return rows.map((row) => outcomeOf(row, made, known));
}

async function insertRows(
  session: Session,
  rows: readonly NewTaskRow[],
  message: string,
): Promise<Set<string>> {
  const { dialect } = session;
  const now = nowOf(dialect);
  const values = rows.map((row) =>
    sql`(${row.agentId}, 'task', ${row.queue}, ${row.brokerId}, ${row.taskName}, 'queued', 0,
      ${jsonOf(dialect, row.context)}, ${jsonOf(dialect, row.metadata)}, ${message},
      ${row.parentId ?? null}, ${timeOf(dialect, row.runAt)}, ${now}, ${now})`
  );
  const insert = sql`
    insert into ${session.activity} (agent_id, kind, queue, broker_id, task_name, status, token,
      context, metadata, message, parent_id, run_at, created_at, queued_at)
    values ${sql.join(values)}
    on conflict (agent_id) do nothing
    returning agent_id`;
  const ids = dialect === "postgres"
    ? await sql<{ agent_id: string }>`with made as (${insert}) insert into ${session.log}
        (agent_id, token, seq, status, message, at)
        select agent_id, 0, 0, 'queued', ${message}::text, now() from made
        on conflict do nothing returning agent_id::text as agent_id`.execute(session.db)
    : await insertSqlite(session, insert, message);
  return new Set(ids.rows.map((row) => row.agent_id));
}

async function insertSqlite(session: Session, insert: RawBuilder<unknown>, message: string) {
  return await session.db.connection().execute(async (db) => {
    await sql`begin immediate`.execute(db);
    try {
      const made = await sql<{ agent_id: string }>`${insert}`.execute(db);
      for (const { agent_id } of made.rows) {
        await sql`insert into ${session.log} (agent_id, token, seq, status, message)
          values (${agent_id}, 0, 0, 'queued', ${message}) on conflict do nothing`.execute(db);
      }
      await sql`commit`.execute(db);
      return made;
    } catch (error) {
      await sql`rollback`.execute(db);
      throw error;
    }
  });
}

/** A row that was never accepted is as good as none, for the same task. */
async function reopen(
  session: Session,
  rows: readonly NewTaskRow[],
  message: string,
): Promise<readonly string[]> {
  const ids = rows.map(({ agentId }) => agentId);
  const refused = await sql<Known>`
    select ${knownColumns(session)} from ${session.activity}
    where agent_id in (${
    sql.join(ids)
  }) and status = 'error' and token = 0 and error = ${NOT_ACCEPTED}`
    .execute(session.db);
  const same = refused.rows.filter((row) =>
    rows.some((given) => given.agentId === row.agent_id && isSame(given, row))
  ).map((row) => row.agent_id);
  if (same.length === 0) return [];
  const { rows: opened } = await sql<{ agent_id: string }>`
    update ${session.activity} set status = 'queued', error = null, message = ${message},
      queued_at = ${nowOf(session.dialect)}, ended_at = null
    where agent_id in (${
    sql.join(same)
  }) and status = 'error' and token = 0 and error = ${NOT_ACCEPTED}
    returning ${idText(session)} as agent_id`.execute(session.db);
  return opened.map((row) => row.agent_id);
}

interface Known {
  readonly agent_id: string;
  readonly kind: string;
  readonly task_name: string;
  readonly status: ActivityStatus;
  readonly token: string;
  readonly context: string | null;
}

function idText({ dialect }: Session) {
  return dialect === "postgres" ? sql<string>`agent_id::text` : sql<string>`agent_id`;
}

function knownColumns(session: Session) {
  return sql`${idText(session)} as agent_id, kind, task_name, status, cast(token as text) as token,
    ${jsonText(session.dialect, "context")} as context`;
}

async function readKnown(session: Session, ids: readonly string[]): Promise<readonly Known[]> {
  if (ids.length === 0) return [];
  const { rows } = await sql<Known>`
    select ${knownColumns(session)} from ${session.activity} where agent_id in (${sql.join(ids)})`
    .execute(session.db);
  return rows;
}

function isSame(given: NewTaskRow, row: Known): boolean {
  if (row.kind !== "task" || row.task_name !== given.taskName) return false;
  // A row without its context (`storeContext: false`) cannot tell contexts apart.
  if (given.context === null || row.context === null) return given.context === row.context;
  return canonical(JSON.parse(given.context)) === canonical(JSON.parse(row.context));
}

/** JSON whose members stand in order: `jsonb` keeps none. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, member: unknown) => {
    if (typeof member !== "object" || member === null || Array.isArray(member)) return member;
    return Object.fromEntries(Object.entries(member).sort(([a], [b]) => a < b ? -1 : 1));
  });
}

function outcomeOf(
  row: NewTaskRow,
  made: ReadonlySet<string>,
  known: ReadonlyMap<string, Known>,
): InsertOutcome {
  if (made.has(row.agentId)) return { kind: "inserted" };
  const other = known.get(row.agentId);
  if (other === undefined) return { kind: "inserted" };
  return isSame(row, other)
    ? { kind: "same", status: other.status, token: other.token }
    : { kind: "conflict", taskName: other.task_name };
}

/** Marks tasks whose push failed; answers with those of them that nobody had taken up. */
export async function refuseTasks(
  session: Session,
  ids: readonly string[],
): Promise<readonly string[]> {
  if (ids.length === 0) return [];
  const { rows } = await sql<{ agent_id: string }>`
    update ${session.activity} set status = 'error', error = ${NOT_ACCEPTED}, message = 'Not accepted by the broker',
      ended_at = ${nowOf(session.dialect)}
    where agent_id in (${sql.join(ids)}) and kind = 'task' and status = 'queued' and token = 0
    returning ${idText(session)} as agent_id`.execute(session.db);
  return rows.map((row) => row.agent_id);
}

interface StoredTask extends Omit<TaskRow, "agentId" | "taskName" | "runAt"> {
  readonly agent_id: string;
  readonly task_name: string;
  readonly run_at: unknown;
}

/** Reads rows whole; those that are not there are left out. */
export async function readTasks(
  session: Session,
  ids: readonly string[],
): Promise<readonly TaskRow[]> {
  if (ids.length === 0) return [];
  const { dialect } = session;
  const { rows } = await sql<StoredTask>`
    select ${
    idText(session)
  } as agent_id, task_name, queue, kind, status, cast(token as text) as token,
      ${jsonText(dialect, "context")} as context, ${jsonText(dialect, "metadata")} as metadata,
      ${jsonText(dialect, "result")} as result, error, message, percentage,
      attempt, failures, crashes, lapses, run_at
    from ${session.activity} where agent_id in (${sql.join(ids)})`.execute(session.db);
  return rows.map(({ agent_id, task_name, run_at, ...rest }) => ({
    ...rest,
    agentId: agent_id,
    taskName: task_name,
    runAt: toDateOrNull(run_at),
  }));
}

/** Cancels a task that waits; says what else it is. */
export async function cancelTask(
  session: Session,
  agentId: string,
  token: string,
): Promise<"canceled" | RowState | undefined> {
  const canceled = await cancelTasks(session, [agentId], token, { from: "queued" });
  if (canceled.length > 0) return "canceled";
  const [row] = await readTasks(session, [agentId]);
  return row === undefined ? undefined : { status: row.status, token: row.token };
}

/** Cancels tasks that wait, or that wait or run; answers with those that were canceled. */
export async function cancelTasks(
  session: Session,
  ids: readonly string[],
  token: string,
  { from }: { readonly from: "queued" | "live" },
): Promise<readonly string[]> {
  if (ids.length === 0) return [];
  const statuses = from === "queued" ? ["queued"] : ["queued", "running"];
  const value = session.dialect === "postgres" ? sql`${token}::bigint` : sql`${Number(token)}`;
  const now = nowOf(session.dialect);
  const { rows } = await sql<{ agent_id: string }>`
    update ${session.activity} set status = 'canceled', token = ${value}, message = 'Canceled', ended_at = ${now}
    where agent_id in (${sql.join([...ids].sort())}) and kind = 'task'
      and status in (${sql.join(statuses)}) and token < ${value}
    returning ${idText(session)} as agent_id`.execute(session.db);
  const canceled = rows.map((row) => row.agent_id);
  if (canceled.length > 0) {
    const lines = canceled.map((id) => sql`(${id}, ${value}, 0, 'canceled', 'Canceled', ${now})`);
    await sql`insert into ${session.log} (agent_id, token, seq, status, message, at) values ${
      sql.join(lines)
    }
      on conflict do nothing`.execute(session.db);
  }
  return canceled;
}

interface StoredLive {
  readonly agent_id: string;
  readonly status: ActivityStatus;
  readonly age: number;
}

/** A page of the tasks of a queue that have not ended, by id. */
export async function liveTasks(
  session: Session,
  options: LiveTasksOptions,
): Promise<readonly LiveTask[]> {
  const { dialect } = session;
  const { queue, after, limit } = options;
  const age = millisecondsBetween(dialect, sql`coalesce(queued_at, created_at)`, nowOf(dialect));
  const { rows } = await sql<StoredLive>`
    select ${idText(session)} as agent_id, status, ${age} as age from ${session.activity}
    where queue = ${queue} and kind = 'task' and status in ('queued', 'running')
      ${after === undefined ? sql`` : sql`and agent_id > ${after}`}
    order by ${session.activity}.agent_id limit ${limit}`.execute(session.db);
  return rows.map(({ agent_id, status, age }) => ({ agentId: agent_id, status, queuedAgeMs: age }));
}
