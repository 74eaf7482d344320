/**
 * Connections to the database: Kysely on the driver that the address asks for.
 *
 * @module
 */
import { type Dialect, Kysely, PostgresDialect } from "kysely";
import { type DatabaseAddress, socketOf, sqliteFiles } from "../addresses.ts";
import type { Database } from "../task/context.ts";
import type { Acquire } from "./acquire.ts";
import { GuardedPool } from "./postgres_pool.ts";
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
  readonly connections?: number | undefined;
  /**
   * How long a statement may take, in milliseconds, before its connection is cut, so that no call waits for
   * a server that has vanished.
   *
   * @default {600_000}
   */
  readonly statementMs?: number | undefined;
  /**
   * How long a connection that nobody uses is kept, in milliseconds; 0 for ever.
   *
   * @default {30_000}
   */
  readonly idleMs?: number | undefined;
  /**
   * How a connection is waited for.
   *
   * @default {undefined} (on Postgres for as long as the statements before it take, on SQLite for 10 s)
   */
  readonly acquire?: Acquire | undefined;
  /**
   * Postgres: told when a connection that nobody was using is lost.
   *
   * @default {undefined} (the next statement finds out)
   */
  readonly onIdleLoss?: (() => void) | undefined;
  /**
   * SQLite: told in a sentence when a handler has held the write lock for 2 s.
   *
   * @default {undefined} (the connections are the library's own)
   */
  readonly onLongLock?: ((text: string) => void) | undefined;
}

/** A Kysely on the address. Connects at first use. */
export function openDatabase(address: DatabaseAddress, options: OpenOptions = {}): Database {
  const { db } = options;
  return db === undefined ? new Kysely({ dialect: dialectOf(address, options) }) : db(address.url);
}

/** The library's own dialect for the address. */
export function dialectOf(address: DatabaseAddress, options: Omit<OpenOptions, "db">): Dialect {
  const { connections = 1, statementMs = 600_000, idleMs = 30_000, acquire } = options;
  const { onLongLock, onIdleLoss } = options;
  if (address.kind === "sqlite") {
    return sqliteDialect(address.path, { connections, acquire, onLongLock });
  }
  return new PostgresDialect({
    // Made at first use: reading the file of a certificate authority may fail.
    pool: async () =>
      await new GuardedPool(address, { connections, statementMs, idleMs, acquire, onIdleLoss }),
  });
}

/** What of the file system a process touches that opens a database. */
export interface DatabaseFiles {
  /** Files that it reads. */
  readonly read: readonly string[];
  /** Files that it writes. */
  readonly write: readonly string[];
}

/**
 * The files of which a process that opens the address must be told: of SQLite the database and its
 * companions; of Postgres those of TLS, and the Unix socket.
 */
export function filesOf(address: DatabaseAddress): DatabaseFiles {
  if (address.kind === "sqlite") {
    const files = sqliteFiles(address.path);
    return { read: files, write: files };
  }
  const { ca, cert, key } = address;
  const socket = socketOf(address);
  const sockets = socket === undefined ? [] : [socket];
  const read = [ca, cert, key].filter((file) => file !== undefined);
  return { read: [...read, ...sockets], write: sockets };
}
