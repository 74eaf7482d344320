/**
 * Rows of tasks that a transaction keeps as they are while it decides what becomes of them.
 *
 * @module
 */
import { type Kysely, type RawBuilder, sql } from "kysely";
import type { ActivityStatus } from "./activity.ts";
import { idIn, jsonText } from "./dialect.ts";
import type { ActivityDatabase } from "./database.ts";

/** What a row says of a task whose push to the broker failed: it never ran, and may be enqueued again. */
export const NOT_ACCEPTED = "not accepted";

/** A row that was there, as far as it tells what may be done with it. */
export interface Known {
  readonly agent_id: string;
  readonly kind: string;
  readonly task_name: string;
  readonly status: ActivityStatus;
  readonly token: string;
  readonly error: string | null;
  readonly context: string | null;
  readonly queue: string | null;
  readonly broker_id: string | null;
}

/** Whether its push failed: then it never ran. */
export function isRefused({ status, token, error }: Known): boolean {
  return status === "error" && token === "0" && error === NOT_ACCEPTED;
}

/** The id as text, which is what every driver gives alike. */
export function idText({ dialect }: ActivityDatabase) {
  return dialect === "postgres" ? sql<string>`agent_id::text` : sql<string>`agent_id`;
}

/** Rows that a transaction keeps, and those that it could not have. */
export interface LockedRows {
  /** The rows. */
  readonly rows: readonly Known[];
  /** The ids of the rows that another transaction holds locked. */
  readonly skipped: readonly string[];
}

/**
 * Reads rows, without their contexts, and keeps them as they are until the transaction ends, in the order of their
 * ids. Waits for nobody: a connection that waits holds up everything else that its process has to say.
 */
export async function lockRows(
  database: ActivityDatabase,
  db: Kysely<unknown>,
  ids: readonly string[],
): Promise<LockedRows> {
  // Somebody's foreign key to a row is no reason to wait: what is changed is never the key.
  const lock = database.dialect === "postgres" ? sql`for no key update skip locked` : sql``;
  const rows = await selectRows(database, db, { ids, context: sql`null`, lock });
  const kept = new Set(rows.map((row) => row.agent_id));
  const others = ids.filter((id) => !kept.has(id.toLowerCase()));
  if (others.length === 0 || database.dialect === "sqlite") return { rows, skipped: [] };
  // Locked, or not there.
  const present = await selectRows(database, db, { ids: others, context: sql`null`, lock: sql`` });
  return { rows, skipped: present.map((row) => row.agent_id) };
}

/** Reads rows with their contexts, and locks none. */
export async function readKnown(
  database: ActivityDatabase,
  ids: readonly string[],
): Promise<readonly Known[]> {
  const context = jsonText(database.dialect, "context");
  return await selectRows(database, database.db, { ids, context, lock: sql`` });
}

async function selectRows(
  database: ActivityDatabase,
  db: Kysely<unknown>,
  query: {
    readonly ids: readonly string[];
    readonly context: RawBuilder<unknown>;
    readonly lock: RawBuilder<unknown>;
  },
): Promise<readonly Known[]> {
  const { rows } = await sql<Known>`
    select ${idText(database)} as agent_id, kind, task_name, status,
      cast(token as text) as token, error, queue, broker_id, ${query.context} as context
    from ${database.activity} where ${idIn(database.dialect, query.ids)}
    order by ${database.activity}.agent_id ${query.lock}`.execute(db);
  return rows;
}

/** How long a statement waits for a row that it cannot skip; then it fails, and is tried again. */
const LOCK_WAIT = "50ms";

/** A condition that is always met, and lets its statement wait only so long for a row. */
export function waitingBriefly({ dialect }: ActivityDatabase): RawBuilder<unknown> {
  return dialect === "postgres"
    ? sql`set_config('lock_timeout', ${LOCK_WAIT}, true) is not null`
    : sql`true`;
}

/** Lets the statements of a transaction wait only so long for a row: they hold up the connection meanwhile. */
export async function waitBriefly(database: ActivityDatabase, db: Kysely<unknown>): Promise<void> {
  if (database.dialect === "postgres") await sql`select ${waitingBriefly(database)}`.execute(db);
}

/** Adds the same line to several logs, behind those that stand under the token. */
export async function addLine(
  database: ActivityDatabase,
  db: Kysely<unknown>,
  line: {
    readonly ids: readonly string[];
    readonly status: ActivityStatus;
    readonly message: string;
    readonly token?: string;
  },
): Promise<void> {
  const { ids, status, message, token = "0" } = line;
  const number = tokenOf(database, token);
  await sql`
    insert into ${database.log} (agent_id, token, seq, status, message, at)
    select a.agent_id, ${number},
      coalesce((select max(l.seq) + 1 from ${database.log} as l
        where l.agent_id = a.agent_id and l.token = ${number}), 0),
      cast(${status} as text), cast(${message} as text), ${database.now()}
    from ${database.activity} as a where ${idIn(database.dialect, ids)}`.execute(db);
}

/** A token as a value of its column. */
export function tokenOf({ dialect }: ActivityDatabase, token: string) {
  return dialect === "postgres" ? sql`${token}::bigint` : sql`${Number(token)}`;
}
