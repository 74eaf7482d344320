/**
 * Records that a program keeps beside its tasks: made, brought on and ended by the program itself.
 *
 * @module
 */
import { sql } from "kysely";
import { v7 as uuid } from "uuid";
import { ActivityOwnedError, AgentexecError } from "../errors.ts";
import { sanitizeText } from "../task/text.ts";
import type { ActivityStatus } from "./activity.ts";
import { jsonOf, nowOf } from "./dialect.ts";
import type { Session } from "./session.ts";

/** A record to be made. */
export interface NewRecordRow {
  /** What it is of. */
  readonly taskName: string;
  /** Its first message. */
  readonly message?: string | undefined;
  /** The metadata's JSON: an object. */
  readonly metadata: string;
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
}

const MESSAGE_BYTES = 1_024;
const ERROR_BYTES = 16 * 1_024;

/** Makes a record; it is `queued` until its first update. Answers with its id. */
export async function createRecord(session: Session, record: NewRecordRow): Promise<string> {
  const { dialect } = session;
  const agentId = uuid();
  const message = record.message === undefined ? null : sanitizeText(record.message, MESSAGE_BYTES);
  await sql`
    insert into ${session.activity} (agent_id, kind, task_name, status, metadata, message, created_at, queued_at)
    values (${agentId}, 'record', ${record.taskName}, 'queued', ${
    jsonOf(dialect, record.metadata)
  }, ${message},
      ${nowOf(dialect)}, ${nowOf(dialect)})
    on conflict do nothing`.execute(session.db);
  await addLine(session, agentId, { status: "queued", message: message ?? undefined });
  return agentId;
}

/** Brings a record on, or to its end. */
export async function changeRecord(
  session: Session,
  agentId: string,
  change: RecordChange,
): Promise<void> {
  const { dialect } = session;
  const now = nowOf(dialect);
  const { status, percentage = null } = change;
  const message = change.message === undefined ? null : sanitizeText(change.message, MESSAGE_BYTES);
  const error = change.error === undefined ? null : sanitizeText(change.error, ERROR_BYTES);
  const ends = status !== "running";
  const { rows } = await sql`
    update ${session.activity} set status = ${status},
      message = coalesce(${message}, message),
      percentage = coalesce(${percentage}, percentage),
      error = coalesce(${error}, error),
      started_at = coalesce(started_at, ${now}),
      ended_at = ${ends ? now : sql`ended_at`}
    where agent_id = ${agentId} and kind = 'record' and status in ('queued', 'running')
    returning agent_id`.execute(session.db);
  if (rows.length === 0) throw await whyNot(session, agentId);
  await addLine(session, agentId, { ...change, message: message ?? undefined });
}

async function addLine(session: Session, agentId: string, line: RecordChange): Promise<void> {
  const { status, message = null, percentage = null } = line;
  // Records have no runs, so all of their lines stand under token 0, numbered by the database.
  await sql`
    insert into ${session.log} (agent_id, token, seq, status, message, percentage, at)
    select ${idOf(session, agentId)}, 0, coalesce(max(seq), -1) + 1, ${status}, ${message}, ${
    percentageOf(session, percentage)
  },
      ${nowOf(session.dialect)}
    from ${session.log} where agent_id = ${agentId}
    on conflict do nothing`.execute(session.db);
}

/** Postgres has to be told the type of a parameter that stands in a select list. */
function idOf({ dialect }: Session, agentId: string) {
  return dialect === "postgres" ? sql`${agentId}::uuid` : sql`${agentId}`;
}

function percentageOf({ dialect }: Session, percentage: number | null) {
  return dialect === "postgres" ? sql`${percentage}::double precision` : sql`${percentage}`;
}

async function whyNot(session: Session, agentId: string): Promise<Error> {
  const { rows } = await sql<{ kind: string; status: string }>`
    select kind, status from ${session.activity} where agent_id = ${agentId}`.execute(session.db);
  const [row] = rows;
  if (row === undefined) {
    return new RangeError(`Cannot change activity ${agentId}: there is none of that id`);
  }
  if (row.kind !== "record") {
    return new ActivityOwnedError(
      `Cannot change activity ${agentId}: it is a task's, which the worker that runs it writes alone`,
      { agentId },
    );
  }
  return new AgentexecError(`Cannot change activity ${agentId}: it has ended (${row.status})`);
}
