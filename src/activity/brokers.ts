/**
 * Which brokers are in use: several may hold queues of one name for one database, and a broker that lost its data
 * comes back under another id.
 *
 * @module
 */
import { sql } from "kysely";
import { waitingBriefly } from "./locked_rows.ts";
import type { ActivityDatabase } from "./database.ts";

/** A broker that somebody uses now. */
export interface BrokerUse {
  /** Its id. */
  readonly id: string;
  /** The queue. */
  readonly queue: string;
  /** Its address as it may be shown. */
  readonly address: string;
}

/** What is known of the brokers of a queue. */
export interface KnownBrokers {
  /** The ids of all that were ever seen. */
  readonly all: ReadonlySet<string>;
  /** The ids of those that were used of late. */
  readonly used: ReadonlySet<string>;
  /** The addresses of those that said theirs, as they may be shown, by their ids. */
  readonly addresses: ReadonlyMap<string, string>;
}

/** How long a broker counts as used after somebody said so: five times what a supervisor takes to say it again. */
const USED_FOR_MS = 300_000;

/** Notes that a broker is used now. */
export async function noteBrokerUse(database: ActivityDatabase, use: BrokerUse): Promise<void> {
  const { id, queue, address } = use;
  await sql`
    insert into ${database.broker} (id, queue, address, last_used_at)
    select ${id}, ${queue}, ${address}, ${database.now()} where ${waitingBriefly(database)}
    on conflict (id, queue) do update
      set address = excluded.address, last_used_at = excluded.last_used_at`.execute(database.db);
}

/** Notes brokers of which nobody has said anything, as used now. Those that are known stay as they are. */
export async function noteBrokersSeen(
  database: ActivityDatabase,
  queue: string,
  ids: readonly string[],
): Promise<void> {
  for (const id of ids) {
    await sql`
      insert into ${database.broker} (id, queue, last_used_at)
      select ${id}, ${queue}, ${database.now()} where ${waitingBriefly(database)}
      on conflict do nothing`.execute(database.db);
  }
}

/** The brokers of a queue. */
export async function readBrokers(
  database: ActivityDatabase,
  queue: string,
): Promise<KnownBrokers> {
  const { rows } = await sql<{ id: string; address: string | null; used: number }>`
    select id, address, case when last_used_at >= ${
    database.ago(USED_FOR_MS)
  } then 1 else 0 end as used
    from ${database.broker} where queue = ${queue}`.execute(database.db);
  return {
    all: new Set(rows.map(({ id }) => id)),
    used: new Set(rows.filter(({ used }) => used === 1).map(({ id }) => id)),
    addresses: new Map(rows.flatMap(({ id, address }) => address === null ? [] : [[id, address]])),
  };
}
