/**
 * Kysely on a memory that several users share.
 *
 * @module
 */
import {
  CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  Kysely,
  type QueryResult,
  SqliteAdapter,
  SqliteDialect,
  type TransactionSettings,
} from "kysely";
import type { Database } from "../task/context.ts";
import type { Owner, SharedMemory } from "./shared_memory.ts";
import { mayWrite, readOnlyError } from "./sqlite_statements.ts";

/** How a user of the memory sees it. */
export interface MemoryUser {
  /** Called before its first statement. */
  readonly ready?: () => Promise<void>;
  /**
   * Whether what it does at the same time goes beside each other, as over several connections.
   *
   * @default {false}
   */
  readonly parallel?: boolean;
}

/** A Kysely on the memory, with transactions of its own. Destroying it leaves the memory as it is. */
export function memoryDatabase(memory: SharedMemory, user: MemoryUser = {}): Database {
  return new Kysely({ dialect: memoryDialect(memory, user) });
}

/** The dialect of the same. */
export function memoryDialect(memory: SharedMemory, user: MemoryUser = {}): Dialect {
  return new MemoryDialect(memory, user);
}

class MemoryDialect extends SqliteDialect {
  readonly #memory: SharedMemory;
  readonly #user: MemoryUser;

  constructor(memory: SharedMemory, user: MemoryUser) {
    super({ database: () => Promise.reject(new TypeError("The memory opens itself")) });
    this.#memory = memory;
    this.#user = user;
  }

  override createDriver(): Driver {
    return new MemoryDriver(this.#memory, this.#user);
  }

  override createAdapter(): SqliteAdapter {
    return this.#user.parallel ? new ParallelAdapter() : super.createAdapter() as SqliteAdapter;
  }
}

/** Kysely lets nobody wait for the one connection. */
class ParallelAdapter extends SqliteAdapter {
  override get supportsMultipleConnections(): boolean {
    return true;
  }
}

class MemoryDriver implements Driver {
  readonly #memory: SharedMemory;
  readonly #user: MemoryUser;

  constructor(memory: SharedMemory, user: MemoryUser) {
    this.#memory = memory;
    this.#user = user;
  }

  async init(): Promise<void> {
    await this.#memory.open();
    await this.#user.ready?.();
  }

  acquireConnection(): Promise<DatabaseConnection> {
    return Promise.resolve(new MemoryConnection(this.#memory));
  }

  beginTransaction(
    connection: DatabaseConnection,
    { accessMode }: TransactionSettings,
  ): Promise<void> {
    return soon(() => ours(connection).begin({ readOnly: accessMode === "read only" }));
  }

  async commitTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw("commit"));
  }

  async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw("rollback"));
  }

  savepoint(connection: DatabaseConnection, name: string): Promise<void> {
    return soon(() => this.#memory.mark(ours(connection).owner, name));
  }

  rollbackToSavepoint(connection: DatabaseConnection, name: string): Promise<void> {
    return soon(() => this.#memory.backTo(ours(connection).owner, name));
  }

  releaseSavepoint(connection: DatabaseConnection, name: string): Promise<void> {
    return soon(() => this.#memory.forget(ours(connection).owner, name));
  }

  /** What was begun in words and not ended ends with it. */
  async releaseConnection(connection: DatabaseConnection): Promise<void> {
    if (ours(connection).isTransaction) await this.rollbackTransaction(connection);
  }

  destroy(): Promise<void> {
    return Promise.resolve();
  }
}

function ours(connection: DatabaseConnection): MemoryConnection {
  return connection as MemoryConnection;
}

class MemoryConnection implements DatabaseConnection {
  readonly #memory: SharedMemory;
  #owner: Owner | undefined;
  #readOnly = false;

  constructor(memory: SharedMemory) {
    this.#memory = memory;
  }

  get isTransaction(): boolean {
    return this.#owner !== undefined;
  }

  /** The transaction. */
  get owner(): Owner {
    if (this.#owner !== undefined) return this.#owner;
    throw new TypeError("cannot use a savepoint: no transaction is active");
  }

  begin({ readOnly }: { readonly readOnly: boolean }): void {
    if (this.#owner !== undefined) {
      throw new TypeError("cannot start a transaction within a transaction");
    }
    this.#owner = this.#memory.begin();
    this.#readOnly = readOnly;
  }

  executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    return soon(() => this.#executeNow<R>(query));
  }

  async *streamQuery<R>(query: CompiledQuery): AsyncIterableIterator<QueryResult<R>> {
    yield* this.#memory.stream<R>(query);
  }

  #executeNow<R>(query: CompiledQuery): QueryResult<R> {
    const [word = ""] = TRANSACTION_WORDS.exec(query.sql) ?? [];
    switch (word.toLowerCase()) {
      case "":
        if (this.#readOnly && mayWrite(query.sql)) throw readOnlyError();
        return this.#memory.run(query, this.#owner);
      case "begin":
        this.begin({ readOnly: false });
        break;
      case "rollback":
        this.#end("rollback");
        break;
      default:
        this.#end("commit");
    }
    return { rows: [] };
  }

  #end(how: "commit" | "rollback"): void {
    const owner = this.#owner;
    if (owner === undefined) throw new TypeError(`cannot ${how} - no transaction is active`);
    this.#owner = undefined;
    this.#readOnly = false;
    this.#memory[how](owner);
  }
}

/** Transactions that are begun and ended in words. */
const TRANSACTION_WORDS =
  /^(begin|commit|end|rollback)(?=\s*;?\s*$|\s+(transaction|immediate|deferred|exclusive)\b)/i;

/** An outcome, or an error, as a promise. */
function soon<T>(body: () => T): Promise<T> {
  return new Promise((resolve) => resolve(body()));
}
