/**
 * The connection to the file of a broker.
 *
 * @module
 */
import type { DatabaseSync } from "node:sqlite";
import { ConnectionError } from "../../errors.ts";
import { isOfSqlite } from "../../sqlite/codes.ts";
import { loadSqlite } from "../../sqlite/load.ts";
import { type OpenedFile, openSqlite } from "../../sqlite/opened_file.ts";
import { prepareSchema } from "./schema.ts";
import { Transaction } from "./transaction.ts";

interface Connected {
  readonly opened: OpenedFile;
  readonly transaction: Transaction;
}

/** A connection to the file of a path. What SQLite says is thrown as it is. */
export class FileConnection {
  /** The address as it may be shown. */
  readonly address: string;
  readonly #path: string;
  #Sqlite: typeof DatabaseSync | undefined;
  #connected: Connected | undefined;
  #synchronous: "full" | "normal" | undefined;

  /** Opens nothing yet. */
  constructor(path: string) {
    this.#path = path;
    this.address = `sqlite:${path}`;
  }

  /**
   * Loads what opening takes: a producer without SQLite shall not need it.
   *
   * @throws {IncompatibleError} If this runtime has no SQLite, or too old a one.
   */
  async load(): Promise<void> {
    this.#Sqlite = (await loadSqlite(this.address)).DatabaseSync;
  }

  /** Opens it where that is not done yet, makes the tables, and makes sure that it can be written. */
  open(): void {
    this.#connected ??= this.#connect();
  }

  /**
   * The connection.
   *
   * @throws {ConnectionError} If it has not been opened, or the file or its log was deleted or replaced.
   */
  current(doing: string): Transaction {
    const connected = this.#connected;
    if (connected === undefined) {
      throw new ConnectionError(`Cannot ${doing} at ${this.address}: it has not been opened`, {
        retryable: false,
      });
    }
    connected.opened.assertThere(doing);
    return connected.transaction;
  }

  #connect(): Connected {
    if (this.#Sqlite === undefined) throw new TypeError("Cannot open a file: load() comes first");
    const opened = openSqlite(this.#Sqlite, this.#path);
    const transaction = new Transaction(opened.database);
    try {
      transaction.run("begin immediate");
      prepareSchema(transaction, this.address);
      transaction.run("commit");
      this.#synchronous = "full";
      return { opened, transaction };
    } catch (error) {
      // With it goes what was begun.
      opened.database.close();
      throw error;
    }
  }

  /** Whether what is written from now on has to survive a loss of power. */
  setDurability(durable: boolean): void {
    const wanted = durable ? "full" : "normal";
    if (this.#synchronous === wanted) return;
    this.#connected?.transaction.run(`pragma synchronous = ${wanted}`);
    this.#synchronous = wanted;
  }

  /** Undoes what was begun. */
  rollBack(): void {
    try {
      this.#connected?.opened.database.exec("rollback");
    } catch (error) {
      // A full disk has rolled it back already; the error before is the one that counts.
      if (!isOfSqlite(error)) throw error;
    }
  }

  /** Closes it. May be called twice. */
  close(): void {
    this.#connected?.opened.database.close();
    this.#connected = undefined;
  }
}
