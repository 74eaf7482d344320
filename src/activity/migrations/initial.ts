/**
 * The first schema: activities and their logs.
 *
 * @module
 */
import { type Kysely, sql } from "kysely";
import type { Migration, MigrationContext } from "./migration.ts";

/** The first schema. */
export const initial: Migration = {
  id: 1,
  name: "initial",
  oldest: 1,
  tables: ["activity", "activity_log"],
  async up({ db, dialect, prefix }: MigrationContext) {
    await createActivity(db, dialect, prefix);
    await createLog(db, dialect, prefix);
    await createIndexes(db, prefix);
  },
};

/** Columns whose type the databases name differently. */
function typesOf(dialect: MigrationContext["dialect"]) {
  return dialect === "postgres"
    ? {
      id: "uuid",
      json: "jsonb",
      time: "timestamptz",
      number: "double precision",
      now: sql`now()`,
    } as const
    : {
      id: "text",
      json: "text",
      time: "text",
      number: "real",
      now: sql`(strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))`,
    } as const;
}

async function createActivity(
  db: Kysely<unknown>,
  dialect: MigrationContext["dialect"],
  prefix: string,
) {
  const { id, json, time, number, now } = typesOf(dialect);
  await db.schema.createTable(`${prefix}activity`)
    .addColumn("agent_id", id, (column) => column.primaryKey().notNull())
    .addColumn("kind", "text", (column) => column.notNull())
    .addColumn("queue", "text")
    .addColumn("broker_id", "text")
    .addColumn("task_name", "text", (column) => column.notNull())
    .addColumn("status", "text", (column) => column.notNull())
    .addColumn("attempt", "integer", (column) => column.notNull().defaultTo(0))
    .addColumn("failures", "integer", (column) => column.notNull().defaultTo(0))
    .addColumn("crashes", "integer", (column) => column.notNull().defaultTo(0))
    .addColumn("lapses", "integer", (column) => column.notNull().defaultTo(0))
    .addColumn("token", "bigint", (column) => column.notNull().defaultTo(0))
    .addColumn("context", json)
    .addColumn("metadata", json, (column) => column.notNull())
    .addColumn("result", json)
    .addColumn("error", "text")
    .addColumn("percentage", number)
    .addColumn("message", "text")
    .addColumn("parent_id", id)
    .addColumn("run_at", time)
    .addColumn("created_at", time, (column) => column.notNull().defaultTo(now))
    .addColumn("queued_at", time)
    .addColumn("started_at", time)
    .addColumn("ended_at", time)
    .execute();
}

async function createLog(
  db: Kysely<unknown>,
  dialect: MigrationContext["dialect"],
  prefix: string,
) {
  const { id, time, number, now } = typesOf(dialect);
  await db.schema.createTable(`${prefix}activity_log`)
    .addColumn("agent_id", id, (column) => column.notNull())
    .addColumn("token", "bigint", (column) => column.notNull())
    .addColumn("seq", "integer", (column) => column.notNull())
    .addColumn("status", "text", (column) => column.notNull())
    .addColumn("message", "text")
    .addColumn("percentage", number)
    .addColumn("at", time, (column) => column.notNull().defaultTo(now))
    .addPrimaryKeyConstraint(`${prefix}activity_log_pk`, ["agent_id", "token", "seq"])
    .execute();
}

async function createIndexes(db: Kysely<unknown>, prefix: string) {
  await db.schema.createIndex(`${prefix}activity_newest`).on(`${prefix}activity`)
    .columns(["created_at", "agent_id"]).execute();
  // Live rows are few beside ended ones, so the index stays small.
  await db.schema.createIndex(`${prefix}activity_live`).on(`${prefix}activity`)
    .columns(["queue", "agent_id"])
    .where(sql.ref("status"), "in", sql`('queued', 'running')`)
    .execute();
}
