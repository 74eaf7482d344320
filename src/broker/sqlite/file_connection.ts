/**
 * The connection to whichever file a path names just now: one that was deleted goes on taking writes that nobody will
 * ever read, so another is opened in its place.
 *
 * @module
 */
import { closeSync, openSync } from "node:fs";
import type { DatabaseSync } from "node:sqlite";
import { ConnectionError } from "../../errors.ts";
import { CUT_OFF, isOfSqlite, loadSqlite, OpenedFile } from "../../sqlite/sqlite.ts";
import { prepareSchema } from "./schema.ts";
import { Transaction } from "./transaction.ts";

/** How long SQLite itself may wait for a lock, with the event loop standing still. */
const BUSY_MS = 2;

interface Connected {
  readonly database: DatabaseSync;
  readonly transaction: Transaction;
  /** Null where it is none, in memory. */
  readonly file: OpenedFile | null;
}

/** A connection to the file of a path. What SQLite says is thrown as it is. */
export class FileConnection {
  /** The address as it may be shown. */
  readonly address: string;
  readonly #path: string;
  #Sqlite: typeof DatabaseSync | undefined;
  #connected: Connected | undefined;
  #synchronous: "full" | "normal" | undefined;
  #replaced = 0;

  /** Opens nothing yet. */
  constructor(path: string) {
    this.#path = path;
    this.address = `sqlite:${path}`;
  }

  /** How often another file was found in the place of the one before. */
  get replaced(): number {
    return this.#replaced;
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
   * The connection, to another file where this one was deleted or replaced: the broker has then lost its data.
   *
   * @throws {ConnectionError} If it has not been opened, or its log was deleted.
   */
  current(doing: string): Transaction {
    const connected = this.#connected;
    if (connected === undefined) {
      throw new ConnectionError(`Cannot ${doing} at ${this.address}: it has not been opened`, {
        retryable: false,
      });
    }
    const { file, transaction, database } = connected;
    if (file === null) return transaction;
    const fate = file.look();
    if (fate === "same") return transaction;
    if (fate === "cut off") {
      throw new ConnectionError(`Cannot ${doing} at ${this.address}: ${CUT_OFF}`, {
        retryable: false,
      });
    }
    if (fate === "deleted") makeFile(this.#path, file.mode);
    this.#connected = this.#connect();
    this.#replaced++;
    database.close();
    return this.#connected.transaction;
  }

  #connect(): Connected {
    if (this.#Sqlite === undefined) throw new TypeError("Cannot open a file: load() comes first");
    const database = new this.#Sqlite(this.#path);
    const transaction = new Transaction(database);
    try {
      transaction.run(`pragma busy_timeout = ${BUSY_MS}`);
      transaction.run("pragma journal_mode = wal");
      transaction.run("pragma synchronous = full");
      transaction.run("begin immediate");
      prepareSchema(transaction, this.address);
      transaction.run("commit");
      this.#synchronous = "full";
      return { database, transaction, file: OpenedFile.at(this.#path) };
    } catch (error) {
      // With it goes what was begun.
      database.close();
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
      this.#connected?.database.exec("rollback");
    } catch (error) {
      // A full disk has rolled it back already; the error before is the one that counts.
      if (!isOfSqlite(error)) throw error;
    }
  }

  /** Closes it. May be called twice. */
  close(): void {
    this.#connected?.database.close();
    this.#connected = undefined;
  }
}

/** Makes a file in the place of one that was deleted, for nobody's eyes but those that could see that one. */
function makeFile(path: string, mode: number): void {
  try {
    closeSync(openSync(path, "wx", mode));
  } catch {
    // What is in the way is in SQLite's way too, and told then.
  }
}
