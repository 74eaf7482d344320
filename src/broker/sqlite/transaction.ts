/**
 * What the operations of the broker see of SQLite: prepared statements, and one time for all that belongs together.
 *
 * @module
 */
import type { DatabaseSync, StatementSync } from "node:sqlite";

/** What a statement may be given. */
export type Bindable = null | number | string;

/** The statements of one connection, prepared once, as one transaction uses them. */
export class Transaction {
  readonly #database: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  /** The time of this transaction, in milliseconds of the Unix epoch. */
  now = 0;

  /** Prepares nothing yet. */
  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  /** The first row; undefined where there is none. */
  get<Row>(sql: string, ...values: Bindable[]): Row | undefined {
    return this.#prepare(sql).get(...values) as Row | undefined;
  }

  /** All rows. */
  all<Row>(sql: string, ...values: Bindable[]): readonly Row[] {
    // What a statement gives is what its text says.
    return this.#prepare(sql).all(...values) as readonly unknown[] as readonly Row[];
  }

  /** Runs a statement; answers with how many rows it changed. */
  run(sql: string, ...values: Bindable[]): number {
    return Number(this.#prepare(sql).run(...values).changes);
  }

  /** Runs statements that are not used again. Under Deno, errors of this way lack SQLite's number. */
  script(sql: string): void {
    this.#database.exec(sql);
  }

  /** The operations' statements are few and fixed, so that none is ever put out. */
  #prepare(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#database.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }
}
