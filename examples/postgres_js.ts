#!/usr/bin/env -S deno run --no-prompt --allow-net=127.0.0.1,localhost --allow-env=REDIS_URL,DATABASE_URL,AGENTEXEC_*,PATH,HOME,DENO_DIR,XDG_CACHE_HOME --ignore-env --allow-run=deno --allow-read=.
/**
 * A pool on another driver: the option `db` makes the Kysely instance, here with postgres.js. Every process
 * makes its own, from the address that its supervisor uses.
 *
 * The one example that needs servers: postgres.js speaks to nothing but Postgres. REDIS_URL and DATABASE_URL say
 * where the two are.
 *
 * Run: in the folder of deno.json `examples/postgres_js.ts`.
 *
 * @module
 */
import { currentTask, type Database, Pool } from "@agentexec/core";
import { Kysely, sql } from "kysely";
import { PostgresJSDialect } from "kysely-postgres-js";
import postgres from "postgres";
import { research } from "./tasks.ts";

/** Reaches the database by postgres.js. */
function connect(url: string): Database {
  return new Kysely({ dialect: new PostgresJSDialect({ postgres: postgres(url, { max: 2 }) }) });
}

/** Everything of it, the handlers' `db` too, goes by postgres.js. */
export const pool = new Pool({ numWorkers: 1, db: connect });

pool.task(research, async ({ context }) => {
  return { answers: [`${context.company} is stored in ${await serverVersion()}`] };
});

/** A tool deep in an agent's call tree reaches the task's database without being handed it. */
async function serverVersion(): Promise<string> {
  const { db } = currentTask();
  const { rows } = await sql<{ version: string }>`select version()`.execute(db);
  return rows[0]?.version.split(" ").slice(0, 2).join(" ") ?? "an unknown database";
}

if (import.meta.main) {
  await pool.migrate();
  await pool.run();
}
