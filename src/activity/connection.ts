/**
 * Connections to the database: Kysely on the driver that the address asks for.
 *
 * @module
 */
import { Kysely, PostgresDialect } from "kysely";
// @ts-types="@types/pg"
import pg from "pg";
import { readFileSync } from "node:fs";
import type { DatabaseAddress, PostgresAddress } from "../config.ts";
import type { Database } from "../task/context.ts";
import { sqliteDialect } from "./sqlite.ts";

/** How a connection is made. */
export interface OpenOptions {
  /** Makes the Kysely instance in place of the library. */
  readonly db?: ((url: string) => Database) | undefined;
  /**
   * How many connections at most.
   *
   * @default {1}
   */
  readonly connections?: number;
}

/** How long a connection may take to be made. */
const CONNECT_MS = 5_000;
/** How long a statement may take before its connection is given up, so that no call hangs. */
const STATEMENT_MS = 15_000;

/** A Kysely on the address. Connects at first use. */
export function openDatabase(address: DatabaseAddress, options: OpenOptions = {}): Database {
  if (options.db !== undefined) return options.db(address.url);
  if (address.kind === "sqlite") return new Kysely({ dialect: sqliteDialect(address.path) });
  return new Kysely({
    dialect: new PostgresDialect({
      pool: () => Promise.resolve(postgresPool(address, options.connections ?? 1)),
    }),
  });
}

/** The files that a process which opens the address reads and writes; none for a server. */
export function filesOf(address: DatabaseAddress): readonly string[] {
  if (address.kind !== "sqlite") return [];
  return ["", "-wal", "-shm", "-journal"].map((suffix) => `${address.path}${suffix}`);
}

/** Nothing that PgBouncer refuses: no start-up parameters, no named statements. */
function postgresPool(address: PostgresAddress, connections: number): pg.Pool {
  const pool = new pg.Pool({
    host: address.host,
    port: address.port,
    user: address.user ?? "postgres",
    // The driver would look for a password file otherwise, which a worker may not read.
    password: address.password ?? "",
    database: address.database ?? address.user ?? "postgres",
    ssl: tlsOf(address),
    max: connections,
    connectionTimeoutMillis: CONNECT_MS,
    query_timeout: STATEMENT_MS,
    idleTimeoutMillis: 0,
    keepAlive: true,
  });
  // An idle connection that breaks is made anew by the next call; without a listener it would end the process.
  pool.on("error", () => {});
  return pool;
}

function tlsOf({ tls, host, ca }: PostgresAddress): pg.PoolConfig["ssl"] {
  if (tls === "off") return false;
  if (tls === "no-verify") return { rejectUnauthorized: false };
  return {
    rejectUnauthorized: true,
    servername: host,
    ...(ca === undefined ? {} : { ca: readFileSync(ca, "utf8") }),
  };
}
