/**
 * Records that a program keeps beside its tasks: made, brought on and ended by the program itself.
 *
 * @module
 */
import { type Kysely, sql } from "kysely";
import { ActivityOwnedError, AgentexecError, TaskConflictError } from "../errors.ts";
import { sanitizeText } from "../task/text.ts";
import type { ActivityStatus } from "./activity.ts";
import { jsonOf, plainJson } from "./dialect.ts";
import { detailJson, ERROR_BYTES } from "./error_text.ts";
import { waitBriefly } from "./locked_rows.ts";
import type { ActivityDatabase } from "./database.ts";

/** A record to be made. */
export interface NewRecordRow {
  /** Its id. */
  readonly agentId: string;
  /** What it is of. */
  readonly taskName: string;
  /** Its first message. */
  readonly message?: string | undefined;
  /**
   * The metadata's JSON: an object.
   *
   * @default {"{}"}
   */
  readonly metadata?: string | undefined;
}

/** What is said of a record. */
export interface RecordChange {
  /** The status it comes to. */
  readonly status: ActivityStatus;
  /** The message; undefined leaves the one before. */
  readonly message?: string | undefined;
  /** How far it is. */
  readonly percentage?: number | undefined;
  /** What went wrong. */
  readonly error?: string | undefined;
  /** Whether a try before may have done it already. */
  readonly again?: boolean;
}

const MESSAGE_BYTES = 1_024;

/** Makes a record; it is `queued` until its first update, which makes it `running`. Answers with its id. */
export async function createRecord(
  database: ActivityDatabase,
  record: NewRecordRow,
): Promise<string> {
  const { dialect } = database;
  const { agentId } = record;
  const message = cut(record.message, MESSAGE_BYTES);
  const now = database.now();
  await database.transaction(async (db) => {
    await waitBriefly(database, db);
    const { rows } = await sql`
      insert into ${database.activity} (agent_id, kind, task_name, status, metadata, message, created_at, queued_at,
        updated_at)
      values (${agentId}, 'record', ${record.taskName}, 'queued', ${
      jsonOf(dialect, plainJson(record.metadata ?? "{}"))
    }, ${message}, ${now}, ${now}, ${now})
      on conflict do nothing returning agent_id`.execute(db);
    if (rows.length > 0) await addLine(database, db, { agentId, status: "queued", message });
    else await refuseOther(database, db, record);
  });
  return agentId;
}

/** A record of this id and name was made before, perhaps by a try whose answer was lost. Anything else is another's. */
async function refuseOther(
  database: ActivityDatabase,
  db: Kysely<unknown>,
  { agentId, taskName }: NewRecordRow,
): Promise<void> {
  const { rows } = await sql<{ kind: string; task_name: string }>`
    select kind, task_name from ${database.activity} where agent_id = ${agentId}`.execute(db);
  const [other] = rows;
  if (other === undefined) {
    throw new AgentexecError(
      `Cannot create activity ${agentId}: its row is there and is not, something deletes it`,
    );
  }
  if (other.kind === "record" && other.task_name === taskName) return;
  throw new TaskConflictError(
    `Cannot create activity '${taskName}' as ${agentId}: the id is that of the ${other.kind} '${other.task_name}'`,
    { agentId },
  );
}

/**
 * Brings a record on, or to its end.
 *
 * @throws {RangeError} If there is none of that id.
 * @throws {ActivityOwnedError} If it is a task's.
 * @throws {AgentexecError} If it has ended.
 */
export async function changeRecord(
  database: ActivityDatabase,
  agentId: string,
  change: RecordChange,
): Promise<void> {
  const { dialect } = database;
  const now = database.now();
  const { status, percentage = null } = change;
  const message = cut(change.message, MESSAGE_BYTES);
  const error = cut(change.error, ERROR_BYTES);
  const ends = status !== "running";
  await database.transaction(async (db) => {
    await waitBriefly(database, db);
    const { rows } = await sql`
      update ${database.activity} set status = ${status},
        message = coalesce(${message}, message),
        percentage = coalesce(${percentage}, percentage),
        ${
      error === null ? sql`` : sql`error = ${error}, error_name = ${"Error"},
        error_detail = ${
        jsonOf(dialect, detailJson({ name: "Error", message: error, stack: null }))
      },`
    }
        updated_at = ${now},
        started_at = coalesce(started_at, ${now}),
        ended_at = ${ends ? now : sql`ended_at`}
      where agent_id = ${agentId} and kind = 'record' and status in ('queued', 'running')
      returning agent_id`.execute(db);
    if (rows.length === 0) return await refuse(database, db, agentId, change);
    await addLine(database, db, { agentId, status, message, percentage });
  });
}

interface Line {
  readonly agentId: string;
  readonly status: ActivityStatus;
  readonly message: string | null;
  readonly percentage?: number | null;
}

/** Records have no runs: all of their lines stand under token 0, one behind the other. */
async function addLine(database: ActivityDatabase, db: Kysely<unknown>, line: Line): Promise<void> {
  const { agentId, status, message, percentage = null } = line;
  // The row, which this transaction has changed, keeps others from numbering a line meanwhile.
  await sql`
    insert into ${database.log} (agent_id, token, seq, status, message, percentage, at)
    select a.agent_id, 0,
      coalesce((select max(l.seq) + 1 from ${database.log} as l
        where l.agent_id = a.agent_id and l.token = 0), 0),
      cast(${status} as text), cast(${message} as text), cast(${percentage} as double precision),
      ${database.now()}
    from ${database.activity} as a where a.agent_id = ${agentId}`.execute(db);
}

function cut(text: string | undefined, bytes: number): string | null {
  return text === undefined ? null : sanitizeText(text, bytes);
}

async function refuse(
  database: ActivityDatabase,
  db: Kysely<unknown>,
  agentId: string,
  { status, again }: RecordChange,
): Promise<void> {
  const { rows } = await sql<{ kind: string; status: string }>`
    select kind, status from ${database.activity} where agent_id = ${agentId}`.execute(db);
  const [row] = rows;
  if (row === undefined) {
    throw new RangeError(`Cannot change activity ${agentId}: there is none of that id`);
  }
  if (row.kind !== "record") {
    throw new ActivityOwnedError(
      `Cannot change activity ${agentId}: it is a task's, which the worker that runs it writes alone`,
      { agentId },
    );
  }
  if (again === true && row.status === status) return;
  throw new AgentexecError(`Cannot change activity ${agentId}: it has ended (${row.status})`);
}
