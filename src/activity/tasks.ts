/**
 * Rows of tasks: made, refused, read and canceled.
 *
 * @module
 */
import { type Kysely, sql } from "kysely";
import { AgentexecError, ValidationError } from "../errors.ts";
import { findUnstorableJson } from "../task/text.ts";
import type { ActivityStatus, InsertOutcome, NewTaskRow, RowState, TaskRow } from "./activity.ts";
import { jsonText, millisecondsBetween, nowOf, plainJson, toDateOrNull } from "./dialect.ts";
import type { Session } from "./session.ts";

/** What a row says of a task whose push to the broker failed: it never ran, and may be enqueued again. */
export const NOT_ACCEPTED = "not accepted";
const REFUSED_MESSAGE = "Not accepted by the broker";
const CANCELED_MESSAGE = "Canceled";

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

/** How often rows that vanish while they are looked at are made again. */
const INSERT_TRIES = 3;

/** Makes the rows of tasks that are about to be pushed. One that is there already is left, and told. */
export async function insertTasks(
  session: Session,
  rows: readonly NewTaskRow[],
  message: string,
): Promise<readonly InsertOutcome[]> {
  for (const row of rows) checkStorable(row);
  const firsts = new Map<string, NewTaskRow>();
  for (const row of rows) if (!firsts.has(row.agentId)) firsts.set(row.agentId, row);
  const outcomes = new Map<string, InsertOutcome>();
  let missing = [...firsts.values()];
  for (let attempt = 1; missing.length > 0; attempt++) {
    if (attempt > INSERT_TRIES) {
      throw new AgentexecError(
        `Cannot insert task ${
          missing[0]?.agentId
        }: its row is there and is not, something deletes it`,
      );
    }
    for (const id of await makeRows(session, missing, message)) {
      outcomes.set(id, { kind: "inserted" });
    }
    missing = missing.filter(({ agentId }) => !outcomes.has(agentId));
    for (const [id, outcome] of await settleKnown(session, missing, message)) {
      outcomes.set(id, outcome);
    }
    missing = missing.filter(({ agentId }) => !outcomes.has(agentId));
  }
  return rows.map((row) => {
    const first = firsts.get(row.agentId) ?? row;
    const outcome = outcomes.get(row.agentId) ?? { kind: "inserted" };
    if (row === first || outcome.kind === "conflict") return outcome;
    // The same id twice in one call.
    if (!isSame(row, first)) return { kind: "conflict", taskName: first.taskName };
    return outcome.kind === "inserted" ? { kind: "same", status: "queued", token: "0" } : outcome;
  });
}

function checkStorable({ agentId, taskName, context, metadata }: NewTaskRow): void {
  for (const [what, json] of [["context", context], ["metadata", metadata]] as const) {
    const path = json === null ? undefined : findUnstorableJson(json);
    if (path === undefined) continue;
    throw new ValidationError(
      `Cannot insert task '${taskName}' (${agentId}): its ${what} holds a NUL or half a surrogate pair at ` +
        `${path}, which no database can store`,
    );
  }
}

/** Makes the rows that are not there; answers with their ids. */
async function makeRows(
  session: Session,
  rows: readonly NewTaskRow[],
  message: string,
): Promise<readonly string[]> {
  if (rows.length === 0) return [];
  const sorted = [...rows].sort((a, b) => a.agentId < b.agentId ? -1 : 1);
  const made = session.dialect === "postgres"
    ? await makePostgres(session, sorted, message)
    : await makeSqlite(session, sorted, message);
  return made.map((row) => row.agent_id);
}

async function makePostgres(session: Session, rows: readonly NewTaskRow[], message: string) {
  // One parameter, however many rows.
  const input = JSON.stringify(rows.map((row) => ({
    agent_id: row.agentId,
    queue: row.queue,
    broker_id: row.brokerId,
    task_name: row.taskName,
    context: row.context,
    metadata: row.metadata,
    parent_id: row.parentId,
    run_at: row.runAt?.toISOString(),
  })));
  const { rows: made } = await sql<{ agent_id: string }>`
    with made as (
      insert into ${session.activity} (agent_id, kind, queue, broker_id, task_name, status, token,
        context, metadata, message, parent_id, run_at, created_at, queued_at)
      select agent_id, 'task', queue, broker_id, task_name, 'queued', 0,
        context::jsonb, metadata::jsonb, ${message}::text, parent_id, run_at, now(), now()
      from jsonb_to_recordset(cast(${input}::text as jsonb)) as x(
        agent_id uuid, queue text, broker_id text, task_name text, context text, metadata text,
        parent_id uuid, run_at timestamptz
      )
      order by agent_id
      on conflict (agent_id) do nothing
      returning agent_id
    ), logged as (
      insert into ${session.log} (agent_id, token, seq, status, message, at)
      select agent_id, 0, 0, 'queued', ${message}::text, now() from made
      on conflict do nothing
    )
    select agent_id::text as agent_id from made`.execute(session.db);
  return made;
}

async function makeSqlite(session: Session, rows: readonly NewTaskRow[], message: string) {
  const now = nowOf(session.dialect);
  return await session.transaction(async (db) => {
    const made: { agent_id: string }[] = [];
    for (const row of rows) {
      const answer = await sql<{ agent_id: string }>`
        insert into ${session.activity} (agent_id, kind, queue, broker_id, task_name, status, token,
          context, metadata, message, parent_id, run_at, created_at, queued_at)
        values (${row.agentId}, 'task', ${row.queue}, ${row.brokerId}, ${row.taskName}, 'queued', 0,
          json(${row.context}), json(${plainJson(row.metadata)}), ${message}, ${
        row.parentId ?? null
      },
          ${row.runAt?.toISOString() ?? null}, ${now}, ${now})
        on conflict (agent_id) do nothing returning agent_id`.execute(db);
      if (answer.rows.length === 0) continue;
      made.push(...answer.rows);
      await addLine(session, db, { ids: [row.agentId], status: "queued", message });
    }
    return made;
  });
}

/** What the rows that were there before mean. One that was never accepted is opened again for the same task. */
async function settleKnown(
  session: Session,
  rows: readonly NewTaskRow[],
  message: string,
): Promise<ReadonlyMap<string, InsertOutcome>> {
  if (rows.length === 0) return new Map();
  return await session.transaction(async (db) => {
    const known = new Map(
      (await lockRows(session, db, rows.map(({ agentId }) => agentId)))
        .map((row) => [row.agent_id, row]),
    );
    const outcomes = new Map<string, InsertOutcome>();
    const reopened: string[] = [];
    for (const row of rows) {
      const other = known.get(row.agentId);
      if (other === undefined) continue;
      if (!isSame(row, { ...other, taskName: other.task_name })) {
        outcomes.set(row.agentId, { kind: "conflict", taskName: other.task_name });
      } else if (isRefused(other)) {
        reopened.push(row.agentId);
        outcomes.set(row.agentId, { kind: "inserted" });
      } else {
        outcomes.set(row.agentId, { kind: "same", status: other.status, token: other.token });
      }
    }
    if (reopened.length > 0) {
      await sql`
        update ${session.activity} set status = 'queued', error = null, message = ${message},
          queued_at = ${nowOf(session.dialect)}, ended_at = null
        where agent_id in (${sql.join(reopened)})`.execute(db);
      await addLine(session, db, { ids: reopened, status: "queued", message });
    }
    return outcomes;
  });
}

/** A row that was there, as far as it tells what may be done with it. */
interface Known {
  readonly agent_id: string;
  readonly kind: string;
  readonly task_name: string;
  readonly status: ActivityStatus;
  readonly token: string;
  readonly error: string | null;
  readonly context: string | null;
}

function isRefused({ status, token, error }: Known): boolean {
  return status === "error" && token === "0" && error === NOT_ACCEPTED;
}

function idText({ dialect }: Session) {
  return dialect === "postgres" ? sql<string>`agent_id::text` : sql<string>`agent_id`;
}

/** Reads rows and keeps them as they are until the transaction ends, in the order of their ids. */
async function lockRows(
  session: Session,
  db: Kysely<unknown>,
  ids: readonly string[],
): Promise<readonly Known[]> {
  const { rows } = await sql<Known>`
    select ${
    idText(session)
  } as agent_id, kind, task_name, status, cast(token as text) as token, error,
      ${jsonText(session.dialect, "context")} as context
    from ${session.activity} where agent_id in (${sql.join(ids)})
    order by ${session.activity}.agent_id ${
    session.dialect === "postgres" ? sql`for update` : sql``
  }`
    .execute(db);
  return rows;
}

/** Adds the same line to several logs, behind those that stand under the token. */
async function addLine(
  session: Session,
  db: Kysely<unknown>,
  line: {
    readonly ids: readonly string[];
    readonly status: ActivityStatus;
    readonly message: string;
    readonly token?: string;
  },
): Promise<void> {
  const { ids, status, message, token = "0" } = line;
  const number = tokenOf(session, token);
  await sql`
    insert into ${session.log} (agent_id, token, seq, status, message, at)
    select a.agent_id, ${number},
      coalesce((select max(l.seq) + 1 from ${session.log} as l
        where l.agent_id = a.agent_id and l.token = ${number}), 0),
      cast(${status} as text), cast(${message} as text), ${nowOf(session.dialect)}
    from ${session.activity} as a where a.agent_id in (${sql.join(ids)})`.execute(db);
}

function tokenOf({ dialect }: Session, token: string) {
  return dialect === "postgres" ? sql`${token}::bigint` : sql`${Number(token)}`;
}

interface Comparable {
  readonly kind?: string;
  readonly taskName: string;
  readonly context: string | null;
}

function isSame(given: Comparable, row: Comparable): boolean {
  if ((row.kind ?? "task") !== "task" || row.taskName !== given.taskName) return false;
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

/** Marks tasks whose push failed; answers with those of them that nobody had taken up. */
export async function refuseTasks(
  session: Session,
  ids: readonly string[],
): Promise<readonly string[]> {
  if (ids.length === 0) return [];
  return await session.transaction(async (db) => {
    const rows = (await lockRows(session, db, ids)).filter(({ kind }) => kind === "task");
    const open = rows.filter(({ status, token }) => status === "queued" && token === "0")
      .map((row) => row.agent_id);
    if (open.length > 0) {
      await sql`
        update ${session.activity} set status = 'error', error = ${NOT_ACCEPTED}, message = ${REFUSED_MESSAGE},
          ended_at = ${nowOf(session.dialect)}
        where agent_id in (${sql.join(open)})`.execute(db);
      await addLine(session, db, { ids: open, status: "error", message: REFUSED_MESSAGE });
    }
    // Those that a first try refused, whose answer was lost, are refused too.
    return [...open, ...rows.filter(isRefused).map((row) => row.agent_id)];
  });
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
  const { canceled, rows } = await cancelLocked(session, [agentId], token, ["queued"]);
  if (canceled.length > 0) return "canceled";
  const [row] = rows;
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
  const statuses: ActivityStatus[] = from === "queued" ? ["queued"] : ["queued", "running"];
  return (await cancelLocked(session, ids, token, statuses)).canceled;
}

async function cancelLocked(
  session: Session,
  ids: readonly string[],
  token: string,
  from: readonly ActivityStatus[],
): Promise<{ readonly canceled: readonly string[]; readonly rows: readonly Known[] }> {
  return await session.transaction(async (db) => {
    const rows = await lockRows(session, db, ids);
    const due = rows.filter((row) =>
      row.kind === "task" && from.includes(row.status) && BigInt(row.token) < BigInt(token)
    ).map((row) => row.agent_id);
    if (due.length > 0) {
      await sql`
        update ${session.activity} set status = 'canceled', token = ${tokenOf(session, token)},
          message = ${CANCELED_MESSAGE}, ended_at = ${nowOf(session.dialect)}
        where agent_id in (${sql.join(due)})`.execute(db);
      await addLine(session, db, {
        ids: due,
        status: "canceled",
        message: CANCELED_MESSAGE,
        token,
      });
    }
    // Those that a first try canceled, whose answer was lost, are canceled too.
    const before = rows.filter((row) => row.status === "canceled" && row.token === token);
    return { canceled: [...due, ...before.map((row) => row.agent_id)], rows };
  });
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
