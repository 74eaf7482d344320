/**
 * The databases that the store's contract is run on.
 *
 * @module
 */
import { Kysely, sql } from "kysely";
import { PostgresJSDialect } from "kysely-postgres-js";
import postgres from "postgres";
import { openDatabase } from "../../src/activity/connection.ts";
import { parseDatabaseUrl } from "../../src/addresses.ts";
import type { ActivityGround } from "../contract/activity_contract.ts";
import { sharedPostgres, startPgBouncer } from "../support/servers.ts";

/** A file in a folder of its own. */
export async function sqliteGround(): Promise<ActivityGround> {
  const folder = await Deno.makeTempDir({ prefix: "activity_" });
  return {
    address: addressOf(`sqlite:${folder}/a%20b.db`),
    [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }),
  };
}

/** A database of its own on the Postgres of the run. */
export async function postgresGround(): Promise<ActivityGround> {
  const database = await sharedPostgres().freshDatabase();
  return {
    address: addressOf(database.url),
    [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
  };
}

/** The same by way of postgres.js. */
export async function postgresJsGround(): Promise<ActivityGround> {
  const ground = await postgresGround();
  return {
    ...ground,
    db: (url) =>
      new Kysely({
        dialect: new PostgresJSDialect({ postgres: postgres(url, { max: 1, onnotice() {} }) }),
      }),
  };
}

/** Settings of a database, or a role, that change how Postgres reads and writes its texts. */
const ODD_SETTINGS = [
  ...["DateStyle = 'German, DMY'", "IntervalStyle = 'sql_standard'", "TimeZone = 'Asia/Kolkata'"],
  ...["bytea_output = 'escape'", "standard_conforming_strings = off", "extra_float_digits = -15"],
  ...["backslash_quote = off", "array_nulls = off", "transform_null_equals = on"],
  ...["quote_all_identifiers = on", "default_transaction_isolation = 'repeatable read'"],
];

/** A database whose sessions begin with odd settings. */
export async function oddGround(): Promise<ActivityGround> {
  const database = await sharedPostgres().freshDatabase();
  const ground = {
    address: addressOf(database.url),
    [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
  };
  const db = openDatabase(ground.address);
  for (const setting of ODD_SETTINGS) {
    await sql`alter database ${sql.ref(database.name)} set ${sql.raw(setting)}`.execute(db);
  }
  await db.destroy();
  return ground;
}

/** The same by way of a PgBouncer of its own in transaction mode. */
export async function bouncerGround(): Promise<ActivityGround> {
  const database = await sharedPostgres().freshDatabase();
  const bouncer = await startPgBouncer(database.url);
  return {
    address: addressOf(bouncer.url),
    async [Symbol.asyncDispose]() {
      await bouncer[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    },
  };
}

function addressOf(url: string) {
  return parseDatabaseUrl({ value: url, source: "the test" });
}
