/**
 * One process's hold on the tables: the connection, whose SQL it speaks, and how its errors are told.
 *
 * @module
 */
import { type Kysely, type RawBuilder, sql } from "kysely";
import { backoff, monotonicMs, sleep, withDeadline } from "../clock.ts";
import { type DatabaseAddress, showDatabase } from "../addresses.ts";
import { ConnectionError, IncompatibleError } from "../errors.ts";
import type { Contact } from "../contact.ts";
import type { Database } from "../task/context.ts";
import { openDatabase } from "./connection.ts";
import { agoOf, type Dialect, inTransaction, nowOf, timeOf } from "./dialect.ts";
import { DatabaseTimeout, failureOf, isUnreachable, toConnectionError } from "./failure.ts";
import type { MigrationContext } from "./migrations/migration.ts";
import { DATABASE_CLOSE_MS } from "../stop_budget.ts";

/** What an {@linkcode ActivityDatabase} is made from. */
export interface ActivityDatabaseOptions {
  /** Where the database is. */
  readonly address: DatabaseAddress;
  /** Makes the Kysely instance in place of the library. */
  readonly db?: ((url: string) => Database) | undefined;
  /** The prefix of the tables. */
  readonly tablePrefix: string;
  /** Told whether the database can be reached. */
  readonly contact?: Contact | undefined;
  /** How many connections at most. */
  readonly connections?: number | undefined;
  /** The time in place of the database's own, in milliseconds of the Unix epoch. SQLite alone. */
  readonly now?: (() => number) | undefined;
}

/** How long, and while what, a call is tried again. */
export interface RetryOptions {
  /** Ends the tries: the call then rejects with the last error. */
  readonly signal?: AbortSignal | undefined;
  /**
   * For how long, in milliseconds.
   *
   * @default {2_000}
   */
  readonly forMs?: number;
}

const OLDEST_POSTGRES = 14;
const PROBE_PAUSES = { firstMs: 200, mostMs: 2_000 };
const RETRY_PAUSES = { firstMs: 20, mostMs: 2_000 };
const RETRY_FOR_MS = 2_000;
/** How long a statement of the store may take. */
const STATEMENT_MS = 15_000;
/** How many reads that may take long are under way at once. */
const READ_CONNECTIONS = 2;
/** How long a statement of a migration may take. */
const MIGRATE_MS = 3_600_000;
/** How long a call over a connection that the program made may take: nobody else ends it. */
const FOREIGN_CALL_MS = 30_000;

/** The tables of one database, and the connections to it. */
export class ActivityDatabase {
  /** The address as it may be shown. */
  readonly address: string;
  /** Whose SQL it speaks. */
  readonly dialect: Dialect;
  /** The prefix of the tables. */
  readonly prefix: string;
  /** The connection. */
  readonly db: Kysely<unknown>;
  /**
   * Where reads that may take long go: on Postgres over connections of their own, made when they are needed, so that
   * they hold up no write and nobody who waits for a result.
   */
  readonly reads: Kysely<unknown>;
  readonly #options: ActivityDatabaseOptions;
  #closed: Promise<void> | undefined;
  #hasAnswered = false;
  /** Ends the pauses between tries. */
  readonly #closing = new AbortController();
  #probing: Promise<void> | undefined;

  /** Makes no connection. */
  constructor(options: ActivityDatabaseOptions) {
    this.#options = options;
    const { address, db, connections, tablePrefix } = options;
    this.address = showDatabase(address);
    this.dialect = address.kind;
    this.prefix = tablePrefix;
    this.db = openDatabase(address, {
      db,
      connections,
      statementMs: STATEMENT_MS,
      idleMs: 0,
      onIdleLoss: () => this.#probe(),
    });
    // A program's own connections are its own affair; SQLite reads within the process in any case.
    this.reads = db !== undefined || address.kind === "sqlite"
      ? this.db
      : openDatabase(address, { connections: READ_CONNECTIONS, statementMs: STATEMENT_MS });
  }

  /** The table of activities. */
  get activity() {
    return sql.table(`${this.prefix}activity`);
  }

  /** The table of their logs. */
  get log() {
    return sql.table(`${this.prefix}activity_log`);
  }

  /** The table of brokers. */
  get broker() {
    return sql.table(`${this.prefix}broker`);
  }

  /** The time that a statement writes. */
  now(): RawBuilder<unknown> {
    const { now } = this.#options;
    return now === undefined || this.dialect === "postgres"
      ? nowOf(this.dialect)
      : timeOf(this.dialect, new Date(now()));
  }

  /** The same, some milliseconds ago. */
  ago(ms: number): RawBuilder<unknown> {
    const { now } = this.#options;
    return now === undefined || this.dialect === "postgres"
      ? agoOf(this.dialect, ms)
      : timeOf(this.dialect, new Date(now() - ms));
  }

  /** Makes sure that the server answers, is new enough and holds every text, as SQLite does in any encoding. */
  async connect(): Promise<void> {
    await this.call("connect", async () => {
      if (this.dialect === "sqlite") {
        await sql`select 1`.execute(this.db);
        return;
      }
      const { rows } = await sql<{ version: string; encoding: string; name: string }>`
        select current_setting('server_version_num') as version,
          current_setting('server_encoding') as encoding, current_database() as name
      `.execute(this.db);
      const version = Math.floor(Number(rows[0]?.version) / 10_000);
      if (version < OLDEST_POSTGRES) {
        throw new IncompatibleError(
          `Cannot use Postgres ${version} at ${this.address}: the oldest that will do is ${OLDEST_POSTGRES}`,
        );
      }
      const { encoding = "", name = "" } = rows[0] ?? {};
      if (encoding !== "UTF8") {
        throw new IncompatibleError(
          `Cannot use the database at ${this.address}: its encoding is ${encoding}, which does not hold every text, and ` +
            `must be UTF8; make one that is by CREATE DATABASE "${
              name.replaceAll('"', '""')
            }_utf8" ` +
            `TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C', and name it in its address`,
        );
      }
    });
  }

  /**
   * Migrates. On Postgres over a connection of its own, on which a statement may take its time: an index
   * over a large table does, and so does whoever waits for another process that migrates. On SQLite no
   * statement is cut, and what is in memory is there for its own connection alone.
   */
  async migrating(body: (context: MigrationContext) => Promise<void>): Promise<void> {
    if (this.dialect === "sqlite") return await this.#again("migrate", () => body(this), {});
    const { address, dialect, prefix } = this;
    const db: Kysely<unknown> = openDatabase(this.#options.address, {
      db: this.#options.db,
      statementMs: MIGRATE_MS,
    });
    try {
      await this.#again("migrate", () => body({ db, address, dialect, prefix }), {});
    } finally {
      await db.destroy();
    }
  }

  /** Makes a transaction that may write. */
  async transaction<T>(body: (db: Kysely<unknown>) => Promise<T>): Promise<T> {
    return await inTransaction(this.db, this.dialect, body);
  }

  /** Makes a call; trouble with the connection becomes a `ConnectionError`. */
  async call<T>(doing: string, body: () => Promise<T>): Promise<T> {
    this.#refuseClosed(doing);
    try {
      const outcome = await this.#inTime(body);
      this.#answered();
      return outcome;
    } catch (error) {
      this.#failed(error, doing);
      throw toConnectionError(error, doing, this.address);
    }
  }

  #answered(): void {
    this.#hasAnswered = true;
    this.#options.contact?.answered(this);
  }

  #failed(error: unknown, doing: string): void {
    const { contact } = this.#options;
    if (contact === undefined || this.dialect === "sqlite" || this.#closed !== undefined) return;
    if (!isUnreachable(error)) return;
    contact.failed(this, toConnectionError(error, doing, this.address) as Error);
    this.#probe();
  }

  /** Asks whether the server answers, at once and until it does: a store that has nothing to do would not notice. */
  #probe(): void {
    if (this.#options.contact === undefined || this.dialect === "sqlite") return;
    this.#probing ??= this.#askUntilBack().finally(() => this.#probing = undefined);
  }

  async #askUntilBack(): Promise<void> {
    const { contact } = this.#options;
    for (let failures = 1; this.#closed === undefined; failures++) {
      try {
        await sql`select 1`.execute(this.db);
        this.#answered();
        return;
      } catch (error) {
        if (this.#closed !== undefined || !isUnreachable(error)) return this.#answered();
        contact?.failed(this, toConnectionError(error, "connect", this.address) as Error);
      }
      await sleep(backoff(failures, PROBE_PAUSES), { signal: this.#closing.signal });
    }
  }

  /** A connection of the library's own ends what takes too long by itself. */
  #inTime<T>(body: () => Promise<T>): Promise<T> {
    return this.#options.db === undefined ? body() : withDeadline(body(), {
      ms: FOREIGN_CALL_MS,
      error: () => new DatabaseTimeout(`it has not answered for ${FOREIGN_CALL_MS / 1_000} s`),
    });
  }

  /**
   * The same for a call that may be made twice: tried again while the connection is the trouble, until the time is
   * up or the signal aborts.
   */
  retrying<T>(doing: string, body: () => Promise<T>, options: RetryOptions = {}): Promise<T> {
    return this.#again(doing, () => this.#inTime(body), options);
  }

  async #again<T>(doing: string, body: () => Promise<T>, options: RetryOptions): Promise<T> {
    const { signal, forMs = RETRY_FOR_MS } = options;
    this.#refuseClosed(doing);
    const giveUpAt = monotonicMs() + forMs;
    for (let failures = 1;; failures++) {
      const pause = backoff(failures, RETRY_PAUSES);
      try {
        const outcome = await body();
        this.#answered();
        return outcome;
      } catch (error) {
        this.#failed(error, doing);
        const again = failureOf(error) === "connection" && this.#closed === undefined &&
          !signal?.aborted && monotonicMs() + pause < giveUpAt;
        if (!again) throw toConnectionError(error, doing, this.address);
      }
      await sleep(pause, {
        signal: signal === undefined
          ? this.#closing.signal
          : AbortSignal.any([signal, this.#closing.signal]),
      });
    }
  }

  /** A Kysely that was closed before its first use would connect all the same. */
  #refuseClosed(doing: string): void {
    if (this.#closed === undefined) return;
    throw new ConnectionError(`Cannot ${doing} at ${this.address}: the store has been closed`, {
      retryable: false,
    });
  }

  /** Closes the connection, waiting at most 0.55 s. May be called twice. */
  close(): Promise<void> {
    this.#closing.abort();
    this.#options.contact?.forget(this);
    this.#closed ??= withDeadline(this.#disconnect(), {
      ms: DATABASE_CLOSE_MS,
      error: () => new ConnectionError(`Cannot close ${this.address} in time`, { retryable: true }),
    }).catch((error: unknown) => {
      // What does not close in time is ended with the process; there is nothing to save in it. Kysely rejects here too
      // with what an opening under way failed of, which is told to whoever wanted to use it.
      if (this.#hasAnswered && !(error instanceof ConnectionError)) throw error;
    });
    return this.#closed;
  }

  async #disconnect(): Promise<void> {
    const others = this.reads === this.db ? [] : [this.reads.destroy()];
    await Promise.all([this.db.destroy(), ...others]);
  }
}
