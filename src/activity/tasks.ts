/**
 * Rows of tasks: refused, read and canceled.
 *
 * @module
 */
import { sql } from "kysely";
import { COUNTERS } from "../task/counters.ts";
import type { ActivityStatus } from "./activity.ts";
import type { TaskResultRow, TaskRow } from "./rows.ts";
import {
  idIn,
  jsonOf,
  jsonText,
  millisecondsBetween,
  numberText,
  timeText,
  toDateOrNull,
  toNumberOrNull,
} from "./dialect.ts";
import { detailJson } from "./error_text.ts";
import {
  addLine,
  idText,
  isRefused,
  type Known,
  lockRows,
  NOT_ACCEPTED,
  tokenOf,
  waitingBriefly,
} from "./locked_rows.ts";
import type { ActivityDatabase } from "./database.ts";

const REFUSED_MESSAGE = "Not accepted by the broker";
const CANCELED_MESSAGE = "Canceled";
/** The name of the error that the caller of `enqueue` gets. */
const REFUSED = { name: "EnqueueError", message: REFUSED_MESSAGE, stack: null };

/** A live task, as `cancelPending` looks at it. */
export interface LiveTask {
  /** Its id. */
  readonly agentId: string;
  /** `queued` or `running`. */
  readonly status: ActivityStatus;
  /** How long it has waited, in milliseconds, by the database's clock. */
  readonly queuedAgeMs: number;
  /** The broker that holds it; null if that was not noted. */
  readonly brokerId: string | null;
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

/** What became of rows that were to be changed. */
export interface ChangedRows {
  /** The ids of those that were changed, by this try or by one before whose answer was lost. */
  readonly changed: readonly string[];
  /** The ids of those that another transaction holds locked. */
  readonly skipped: readonly string[];
  /** The others, as they are. */
  readonly rows: readonly Known[];
}

/** Marks tasks whose push failed; those that somebody has taken up are left. */
export async function refuseTasks(
  database: ActivityDatabase,
  ids: readonly string[],
): Promise<ChangedRows> {
  if (ids.length === 0) return { changed: [], skipped: [], rows: [] };
  return await database.transaction(async (db) => {
    const { rows: locked, skipped } = await lockRows(database, db, ids);
    const rows = locked.filter(({ kind }) => kind === "task");
    const open = rows.filter(({ status, token }) => status === "queued" && token === "0")
      .map((row) => row.agent_id);
    if (open.length > 0) {
      await sql`
        update ${database.activity} set status = 'error', error = ${NOT_ACCEPTED}, message = ${REFUSED_MESSAGE},
          error_name = ${REFUSED.name}, error_detail = ${
        jsonOf(database.dialect, detailJson(REFUSED))
      },
          ended_at = ${database.now()}, updated_at = ${database.now()}
        where ${idIn(database.dialect, open)}`.execute(db);
      await addLine(database, db, { ids: open, status: "error", message: REFUSED_MESSAGE });
    }
    // Those that a first try refused, whose answer was lost, are refused too.
    return {
      changed: [...open, ...rows.filter(isRefused).map((row) => row.agent_id)],
      skipped,
      rows,
    };
  });
}

interface StoredTask
  extends Omit<TaskRow, "agentId" | "taskName" | "brokerId" | "runAt" | "percentage"> {
  readonly agent_id: string;
  readonly broker_id: string | null;
  readonly task_name: string;
  readonly percentage: number | string | null;
  readonly run_at: string | null;
}

/** Reads rows whole; those that are not there are left out. */
export async function readTasks(
  database: ActivityDatabase,
  ids: readonly string[],
): Promise<readonly TaskRow[]> {
  if (ids.length === 0) return [];
  const { dialect } = database;
  const { rows } = await sql<StoredTask>`
    select ${
    idText(database)
  } as agent_id, task_name, queue, broker_id, kind, status, cast(token as text) as token,
      ${jsonText(dialect, "context")} as context, ${jsonText(dialect, "metadata")} as metadata,
      ${jsonText(dialect, "result")} as result, error, message,
      ${numberText(dialect, "percentage")} as percentage, ${
    sql.join(COUNTERS.map((name) => sql.ref(name)))
  },
      ${timeText(dialect, "run_at")} as run_at
    from ${database.activity} where ${idIn(dialect, ids)}`.execute(database.db);
  return rows.map(({ agent_id, broker_id, task_name, percentage, run_at, ...rest }) => ({
    ...rest,
    brokerId: broker_id,
    percentage: toNumberOrNull(percentage),
    agentId: agent_id,
    taskName: task_name,
    runAt: toDateOrNull(run_at),
  }));
}

/** Notes that a broker holds tasks that another one held; those that have meanwhile a third one are left. */
export async function moveTasks(
  database: ActivityDatabase,
  ids: readonly string[],
  { from, to }: { readonly from: string; readonly to: string },
): Promise<void> {
  await sql`
    update ${database.activity} set broker_id = ${to}
    where ${idIn(database.dialect, ids)} and kind = 'task' and broker_id = ${from}
      and ${waitingBriefly(database)}`.execute(database.db);
}

/** Reads what came of tasks, without what they were given; those that are not there are left out. */
export async function readResults(
  database: ActivityDatabase,
  ids: readonly string[],
): Promise<readonly TaskResultRow[]> {
  if (ids.length === 0) return [];
  const { dialect } = database;
  const { rows } = await sql<Omit<TaskResultRow, "agentId" | "taskName"> & Named>`
    select ${idText(database)} as agent_id, task_name, status,
      ${jsonText(dialect, "result")} as result, error
    from ${database.activity} where ${idIn(dialect, ids)} and kind = 'task'`.execute(database.db);
  return rows.map(({ agent_id, task_name, ...rest }) => ({
    ...rest,
    agentId: agent_id,
    taskName: task_name,
  }));
}

interface Named {
  readonly agent_id: string;
  readonly task_name: string;
}

/** Cancels tasks that wait, or that wait or run. */
export async function cancelRows(
  database: ActivityDatabase,
  ids: readonly string[],
  token: string,
  { from }: { readonly from: "queued" | "live" },
): Promise<ChangedRows> {
  if (ids.length === 0) return { changed: [], skipped: [], rows: [] };
  const statuses: ActivityStatus[] = from === "queued" ? ["queued"] : ["queued", "running"];
  return await database.transaction(async (db) => {
    const { rows, skipped } = await lockRows(database, db, ids);
    const due = rows.filter((row) =>
      row.kind === "task" && statuses.includes(row.status) && BigInt(row.token) < BigInt(token)
    ).map((row) => row.agent_id);
    if (due.length > 0) {
      await sql`
        update ${database.activity} set status = 'canceled', token = ${tokenOf(database, token)},
          message = ${CANCELED_MESSAGE}, ended_at = ${database.now()}, updated_at = ${database.now()}
        where ${idIn(database.dialect, due)}`.execute(db);
      await addLine(database, db, {
        ids: due,
        status: "canceled",
        message: CANCELED_MESSAGE,
        token,
      });
    }
    // Those that a first try canceled, whose answer was lost, are canceled too.
    const before = rows.filter((row) => row.status === "canceled" && row.token === token);
    return { changed: [...due, ...before.map((row) => row.agent_id)], skipped, rows };
  });
}

interface StoredLive {
  readonly agent_id: string;
  readonly status: ActivityStatus;
  readonly age: number | string;
  readonly broker_id: string | null;
}

/** A page of the tasks of a queue that have not ended, by id. */
export async function liveTasks(
  database: ActivityDatabase,
  options: LiveTasksOptions,
): Promise<readonly LiveTask[]> {
  const { dialect } = database;
  const { queue, after, limit } = options;
  const age = millisecondsBetween(dialect, sql`coalesce(queued_at, created_at)`, database.now());
  const { rows } = await sql<StoredLive>`
    select ${idText(database)} as agent_id, status, broker_id, ${age} as age
    from ${database.activity}
    where queue = ${queue} and kind = 'task' and status in ('queued', 'running')
      ${after === undefined ? sql`` : sql`and agent_id > ${after}`}
    order by ${database.activity}.agent_id limit ${limit}`.execute(database.reads);
  return rows.map(({ agent_id, status, broker_id, age }) => ({
    agentId: agent_id,
    status,
    queuedAgeMs: Number(age),
    brokerId: broker_id,
  }));
}
