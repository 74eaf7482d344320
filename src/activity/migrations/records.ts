/**
 * What went wrong in parts, when a row last changed, and which brokers are in use.
 *
 * @module
 */
import { sql } from "kysely";
import { nowOf } from "../dialect.ts";
import type { Migration, MigrationContext } from "./migration.ts";

/** The failures in parts, the time of the last change, and the table of brokers. */
export const records: Migration = {
  id: 3,
  name: "records",
  oldest: 1,
  tables: ["broker"],
  async up(context: MigrationContext) {
    await addColumns(context);
    await createBroker(context);
    await noteKnownBrokers(context);
  },
};

async function addColumns({ db, dialect, prefix }: MigrationContext): Promise<void> {
  const [json, time] = dialect === "postgres"
    ? ["jsonb", "timestamptz"] as const
    : ["text", "text"] as const;
  // One statement each: SQLite takes one column at a time.
  for (
    const [name, type] of [
      ["updated_at", time],
      ["error_name", "text"],
      ["error_detail", json],
    ] as const
  ) await db.schema.alterTable(`${prefix}activity`).addColumn(name, type).execute();
}

async function createBroker({ db, dialect, prefix }: MigrationContext): Promise<void> {
  await db.schema.createTable(`${prefix}broker`)
    .addColumn("id", "text", (column) => column.notNull())
    .addColumn("queue", "text", (column) => column.notNull())
    .addColumn("address", "text")
    .addColumn(
      "last_used_at",
      dialect === "postgres" ? "timestamptz" : "text",
      (column) => column.notNull(),
    )
    .addPrimaryKeyConstraint(`${prefix}broker_pk`, ["id", "queue"])
    .execute();
}

/** Nobody has said so far that a broker is in use: those that hold something count as used now. */
async function noteKnownBrokers({ db, dialect, prefix }: MigrationContext): Promise<void> {
  const [activity, broker] = [sql.table(`${prefix}activity`), sql.table(`${prefix}broker`)];
  await sql`
    insert into ${broker} (id, queue, last_used_at)
    select distinct broker_id, queue, ${nowOf(dialect)} from ${activity}
    where status in ('queued', 'running') and kind = 'task'
      and broker_id is not null and queue is not null`.execute(db);
}
