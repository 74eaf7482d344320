/**
 * Rows of tasks that are about to be pushed to the broker.
 *
 * @module
 */
import { sql } from "kysely";
import { AgentexecError, ValidationError } from "../errors.ts";
import { findUnstorableJson } from "../task/text.ts";
import type { InsertOutcome, NewTaskRow } from "./rows.ts";
import { idIn, plainJson } from "./dialect.ts";
import { addLine, isRefused, lockRows } from "./locked_rows.ts";
import type { Session } from "./session.ts";

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

/** Rows as one JSON text: one parameter, however many. */
function inputOf(rows: readonly NewTaskRow[], metadataOf: (json: string) => string): string {
  return JSON.stringify(rows.map((row) => ({
    agent_id: row.agentId,
    queue: row.queue,
    broker_id: row.brokerId,
    task_name: row.taskName,
    context: row.context,
    metadata: metadataOf(row.metadata),
    parent_id: row.parentId,
    run_at: row.runAt?.toISOString(),
  })));
}

async function makePostgres(session: Session, rows: readonly NewTaskRow[], message: string) {
  const { rows: made } = await sql<{ agent_id: string }>`
    with made as (
      insert into ${session.activity} (agent_id, kind, queue, broker_id, task_name, status, token,
        context, metadata, message, parent_id, run_at, created_at, queued_at, updated_at)
      select agent_id, 'task', queue, broker_id, task_name, 'queued', 0,
        context::jsonb, metadata::jsonb, ${message}::text, parent_id, run_at, now(), now(), now()
      from jsonb_to_recordset(cast(${inputOf(rows, String)}::text as jsonb)) as x(
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
  const now = session.now();
  return await session.transaction(async (db) => {
    const { rows: made } = await sql<{ agent_id: string }>`
      insert into ${session.activity} (agent_id, kind, queue, broker_id, task_name, status, token,
        context, metadata, message, parent_id, run_at, created_at, queued_at, updated_at)
      select value->>'agent_id', 'task', value->>'queue', value->>'broker_id', value->>'task_name',
        'queued', 0, json(value->>'context'), json(value->>'metadata'), ${message},
        value->>'parent_id', value->>'run_at', ${now}, ${now}, ${now}
      from json_each(${inputOf(rows, plainJson)}) where true
      on conflict (agent_id) do nothing returning agent_id`.execute(db);
    const ids = made.map((row) => row.agent_id);
    if (ids.length > 0) await addLine(session, db, { ids, status: "queued", message });
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
      (await lockRows(session, db, rows.map(({ agentId }) => agentId), { contexts: true }))
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
        update ${session.activity} set status = 'queued', error = null, error_name = null,
          error_detail = null, message = ${message}, queued_at = ${session.now()},
          updated_at = ${session.now()}, ended_at = null
        where ${idIn(session.dialect, reopened)}`.execute(db);
      await addLine(session, db, { ids: reopened, status: "queued", message });
    }
    return outcomes;
  });
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
