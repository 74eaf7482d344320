/**
 * A database in memory that several users share as if each had a connection of its own: SQLite without files has one
 * connection alone. A transaction that is taken back takes back what it did itself, and nothing of what others did
 * meanwhile; until then all see everything.
 *
 * @module
 */
import { CompiledQuery, type QueryResult } from "kysely";
import { loadSqlite } from "../sqlite/load.ts";
import { adapt, type Opened } from "./node_sqlite.ts";
import { mayWrite } from "./sqlite_statements.ts";

/** One transaction: of whom a step is. */
export type Owner = symbol;

/** The mark at which a transaction begins. */
const WHOLE = "";

/** What was done since the oldest transaction that is open has begun. */
type Step =
  | { readonly kind: "mark"; readonly name: string; readonly owner: Owner; readonly label: string }
  | { readonly kind: "statement"; readonly query: CompiledQuery; owner: Owner | undefined };

/** The memory. */
export class SharedMemory {
  #database: Opened | undefined;
  #opening: Promise<void> | undefined;
  #steps: Step[] = [];
  readonly #open = new Set<Owner>();
  #marks = 0;

  /** Opens it, once. */
  open(): Promise<void> {
    return this.#opening ??= this.#openNow();
  }

  /** Forgets all. */
  async close(): Promise<void> {
    await this.#opening;
    this.#database?.close();
  }

  /** Begins a transaction. */
  begin(): Owner {
    const owner = Symbol("transaction");
    if (this.#open.size === 0) this.#tell("begin");
    this.#open.add(owner);
    this.mark(owner, WHOLE);
    return owner;
  }

  /** Runs a statement, of a transaction or beside all. */
  run<R>(query: CompiledQuery, owner: Owner | undefined): QueryResult<R> {
    const result = this.#execute<R>(query);
    if (this.#open.size > 0 && mayWrite(query.sql)) {
      this.#steps.push({ kind: "statement", query, owner });
    }
    return result;
  }

  /** Reads row by row. */
  *stream<R>({ sql, parameters }: CompiledQuery): IterableIterator<QueryResult<R>> {
    for (const row of this.#opened().prepare(sql).iterate(parameters)) yield { rows: [row as R] };
  }

  /** Keeps what a transaction did. */
  commit(owner: Owner): void {
    for (const step of this.#steps) {
      if (step.kind === "statement" && step.owner === owner) step.owner = undefined;
    }
    this.#end(owner);
  }

  /** Takes back what a transaction did. */
  rollback(owner: Owner): void {
    this.backTo(owner, WHOLE);
    this.#end(owner);
  }

  /** Marks a place in a transaction, to which it can be taken back. */
  mark(owner: Owner, label: string): void {
    const name = `mark${++this.#marks}`;
    this.#tell(`savepoint ${name}`);
    this.#steps.push({ kind: "mark", name, owner, label });
  }

  /** Takes a transaction back to a place, and does again what others did since. */
  backTo(owner: Owner, label: string): void {
    const index = this.#indexOf(owner, label);
    const mark = this.#steps[index];
    if (mark?.kind !== "mark") throw new TypeError(`no such savepoint: ${label}`);
    this.#tell(`rollback to ${mark.name}`);
    for (const step of this.#steps.splice(index + 1)) {
      if (step.owner === owner) continue;
      if (step.kind === "mark") this.#tell(`savepoint ${step.name}`);
      else this.#execute(step.query);
      this.#steps.push(step);
    }
  }

  /** Forgets a place, and those of the transaction after it. */
  forget(owner: Owner, label: string): void {
    const from = this.#indexOf(owner, label);
    // The real ones stay until all have ended: nobody goes back to them any more.
    this.#steps = this.#steps.filter((step, index) =>
      index < from || step.kind === "statement" || step.owner !== owner
    );
  }

  #indexOf(owner: Owner, label: string): number {
    return this.#steps.findLastIndex((step) =>
      step.kind === "mark" && step.owner === owner && step.label === label
    );
  }

  #end(owner: Owner): void {
    this.forget(owner, WHOLE);
    this.#open.delete(owner);
    if (this.#open.size > 0) return;
    this.#steps = [];
    this.#tell("commit");
  }

  #tell(text: string): void {
    this.#execute(CompiledQuery.raw(text));
  }

  #execute<R>({ sql, parameters }: CompiledQuery): QueryResult<R> {
    const statement = this.#opened().prepare(sql);
    if (statement.reader) return { rows: statement.all(parameters) as R[] };
    const { changes, lastInsertRowid } = statement.run(parameters);
    return { rows: [], numAffectedRows: BigInt(changes), insertId: BigInt(lastInsertRowid) };
  }

  #opened(): Opened {
    if (this.#database !== undefined) return this.#database;
    throw new TypeError("Cannot use the memory: it has not been opened");
  }

  async #openNow(): Promise<void> {
    const { DatabaseSync } = await loadSqlite("sqlite::memory:");
    const database = new DatabaseSync(":memory:");
    // As in a file.
    database.exec("pragma foreign_keys = off");
    this.#database = adapt(database);
  }
}
