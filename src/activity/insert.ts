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
import { isLockTimeout } from "./failure.ts";
import {
  addLine,
  isRefused,
  type Known,
  lockRows,
  readKnown,
  waitingBriefly,
} from "./locked_rows.ts";
import type { ActivityDatabase } from "./database.ts";

/** How often rows that vanish while they are looked at are made again. */
const INSERT_TRIES = 3;

/**
 * Makes the rows of tasks that are about to be pushed. One that is there already is left, and told, and so is one that
 * another transaction has in hand.
 */
export async function insertTasks(
  database: ActivityDatabase,
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
    for (const [id, outcome] of await makeRows(database, missing, message)) {
      outcomes.set(id, outcome);
    }
    missing = missing.filter(({ agentId }) => !outcomes.has(agentId));
    for (const [id, outcome] of await settleKnown(database, missing, message)) {
      outcomes.set(id, outcome);
    }
    missing = missing.filter(({ agentId }) => !outcomes.has(agentId));
  }
  return rows.map((row) => {
    const first = firsts.get(row.agentId) ?? row;
    const outcome = outcomes.get(row.agentId) ?? { kind: "inserted" };
    if (row === first || ["conflict", "elsewhere", "locked"].includes(outcome.kind)) return outcome;
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

type Outcomes = ReadonlyMap<string, InsertOutcome>;

/** Makes the rows that are not there; returns those that were made, and those that others have in hand. */
async function makeRows(
  database: ActivityDatabase,
  rows: readonly NewTaskRow[],
  message: string,
): Promise<Outcomes> {
  if (rows.length === 0) return new Map();
  const sorted = [...rows].sort((a, b) => a.agentId < b.agentId ? -1 : 1);
  if (database.dialect === "sqlite") return await makeSqlite(database, sorted, message);
  try {
    return await makePostgres(database, sorted, message);
  } catch (error) {
    if (!isLockTimeout(error)) throw error;
    return await makeHalves(database, sorted, message);
  }
}

/** The statement says that one of its rows has to wait, not which. */
async function makeHalves(
  database: ActivityDatabase,
  rows: readonly NewTaskRow[],
  message: string,
): Promise<Outcomes> {
  const [only] = rows;
  if (rows.length === 1 && only !== undefined) return new Map([[only.agentId, { kind: "locked" }]]);
  const half = Math.ceil(rows.length / 2);
  return new Map([
    ...await makeRows(database, rows.slice(0, half), message),
    ...await makeRows(database, rows.slice(half), message),
  ]);
}

function inserted(made: readonly { readonly agent_id: string }[]): Outcomes {
  return new Map(made.map((row) => [row.agent_id, { kind: "inserted" }]));
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

/**
 * A row that another transaction has made and not committed is waited for, and cannot be skipped: but only for so long.
 */
async function makePostgres(
  database: ActivityDatabase,
  rows: readonly NewTaskRow[],
  message: string,
): Promise<Outcomes> {
  const { rows: made } = await sql<{ agent_id: string }>`
    with made as (
      insert into ${database.activity} (agent_id, kind, queue, broker_id, task_name, status, token,
        context, metadata, message, parent_id, run_at, created_at, queued_at, updated_at)
      select agent_id, 'task', queue, broker_id, task_name, 'queued', 0,
        context::jsonb, metadata::jsonb, ${message}::text, parent_id, run_at, now(), now(), now()
      from jsonb_to_recordset(cast(${inputOf(rows, String)}::text as jsonb)) as x(
        agent_id uuid, queue text, broker_id text, task_name text, context text, metadata text,
        parent_id uuid, run_at timestamptz
      )
      where ${waitingBriefly(database)}
      order by agent_id
      on conflict (agent_id) do nothing
      returning agent_id
    ), logged as (
      insert into ${database.log} (agent_id, token, seq, status, message, at)
      select agent_id, 0, 0, 'queued', ${message}::text, now() from made
      on conflict do nothing
    )
    select agent_id::text as agent_id from made`.execute(database.db);
  return inserted(made);
}

async function makeSqlite(
  database: ActivityDatabase,
  rows: readonly NewTaskRow[],
  message: string,
): Promise<Outcomes> {
  const now = database.now();
  return await database.transaction(async (db) => {
    const { rows: made } = await sql<{ agent_id: string }>`
      insert into ${database.activity} (agent_id, kind, queue, broker_id, task_name, status, token,
        context, metadata, message, parent_id, run_at, created_at, queued_at, updated_at)
      select value->>'agent_id', 'task', value->>'queue', value->>'broker_id', value->>'task_name',
        'queued', 0, json(value->>'context'), json(value->>'metadata'), ${message},
        value->>'parent_id', value->>'run_at', ${now}, ${now}, ${now}
      from json_each(${inputOf(rows, plainJson)}) where true
      on conflict (agent_id) do nothing returning agent_id`.execute(db);
    const ids = made.map((row) => row.agent_id);
    if (ids.length > 0) await addLine(database, db, { ids, status: "queued", message });
    return inserted(made);
  });
}

/** What the rows that were there before mean. One that was never accepted is opened again for the same task. */
async function settleKnown(
  database: ActivityDatabase,
  rows: readonly NewTaskRow[],
  message: string,
): Promise<Outcomes> {
  if (rows.length === 0) return new Map();
  const known = new Map(
    (await readKnown(database, rows.map(({ agentId }) => agentId))).map((
      row,
    ) => [row.agent_id, row]),
  );
  const outcomes = new Map<string, InsertOutcome>();
  const refused: string[] = [];
  for (const row of rows) {
    const other = known.get(row.agentId);
    if (other === undefined) continue;
    if (!isSame(row, { ...other, taskName: other.task_name })) {
      outcomes.set(row.agentId, { kind: "conflict", taskName: other.task_name });
    } else if (other.queue !== null && other.queue !== row.queue) {
      outcomes.set(row.agentId, {
        kind: "conflict",
        taskName: other.task_name,
        queue: other.queue,
      });
    } else if (other.broker_id !== null && other.broker_id !== row.brokerId) {
      outcomes.set(row.agentId, { kind: "elsewhere", brokerId: other.broker_id });
    } else if (isRefused(other)) refused.push(row.agentId);
    else outcomes.set(row.agentId, sameAs(other));
  }
  for (const [id, outcome] of await reopen(database, refused, message)) outcomes.set(id, outcome);
  return outcomes;
}

function sameAs({ status, token }: Known): InsertOutcome {
  return { kind: "same", status, token };
}

/** Opens rows that were never accepted, but for those that others have opened meanwhile. */
async function reopen(
  database: ActivityDatabase,
  ids: readonly string[],
  message: string,
): Promise<Outcomes> {
  if (ids.length === 0) return new Map();
  return await database.transaction(async (db) => {
    const { rows, skipped } = await lockRows(database, db, ids);
    const open = rows.filter(isRefused).map((row) => row.agent_id);
    if (open.length > 0) {
      await sql`
        update ${database.activity} set status = 'queued', error = null, error_name = null,
          error_detail = null, message = ${message}, queued_at = ${database.now()},
          updated_at = ${database.now()}, ended_at = null
        where ${idIn(database.dialect, open)}`.execute(db);
      await addLine(database, db, { ids: open, status: "queued", message });
    }
    return new Map<string, InsertOutcome>([
      ...rows.map((row) => [row.agent_id, sameAs(row)] as const),
      ...open.map((id) => [id, { kind: "inserted" }] as const),
      ...skipped.map((id) => [id, { kind: "locked" }] as const),
    ]);
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
