/**
 * Rows of tasks that a transaction keeps as they are while it decides what becomes of them.
 *
 * @module
 */
import { type Kysely, sql } from "kysely";
import type { ActivityStatus } from "./activity.ts";
import { idIn, jsonText } from "./dialect.ts";
import type { Session } from "./session.ts";

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
}

/** Whether its push failed: then it never ran. */
export function isRefused({ status, token, error }: Known): boolean {
  return status === "error" && token === "0" && error === NOT_ACCEPTED;
}

/** The id as text, which is what every driver gives alike. */
export function idText({ dialect }: Session) {
  return dialect === "postgres" ? sql<string>`agent_id::text` : sql<string>`agent_id`;
}

/**
 * Reads rows and keeps them as they are until the transaction ends, in the order of their ids. Contexts,
 * which may be large, only where they are asked for; else they are null.
 */
export async function lockRows(
  session: Session,
  db: Kysely<unknown>,
  ids: readonly string[],
  { contexts = false }: { readonly contexts?: boolean } = {},
): Promise<readonly Known[]> {
  const { rows } = await sql<Known>`
    select ${
    idText(session)
  } as agent_id, kind, task_name, status, cast(token as text) as token, error,
      ${contexts ? jsonText(session.dialect, "context") : sql`null`} as context
    from ${session.activity} where ${idIn(session.dialect, ids)}
    order by ${session.activity}.agent_id ${
    session.dialect === "postgres" ? sql`for update` : sql``
  }`
    .execute(db);
  return rows;
}

/** Adds the same line to several logs, behind those that stand under the token. */
export async function addLine(
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
      cast(${status} as text), cast(${message} as text), ${session.now()}
    from ${session.activity} as a where ${idIn(session.dialect, ids)}`.execute(db);
}

/** A token as a value of its column. */
export function tokenOf({ dialect }: Session, token: string) {
  return dialect === "postgres" ? sql`${token}::bigint` : sql`${Number(token)}`;
}
