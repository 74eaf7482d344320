/**
 * `node:sqlite` in the shape of better-sqlite3, which is what Kysely's dialect speaks, with the statements
 * that were used last kept prepared: preparing one costs more than most of them take.
 *
 * @module
 */
import type { SqliteDialectConfig } from "kysely";
import type { DatabaseSync } from "node:sqlite";
import { types } from "node:util";

/** An open database as Kysely's dialect uses it. */
export type Opened = Awaited<ReturnType<Extract<SqliteDialectConfig["database"], () => unknown>>>;
type Statement = ReturnType<Opened["prepare"]>;
type Bindable = null | number | bigint | string | Uint8Array;

/** How many are kept. The store itself has about forty. */
const MOST_PREPARED = 64;
/** A statement holds what it was given until it is given something else: not more than this, in characters. */
const MOST_HELD = 1_000_000;

/** Adapts an open database. */
export function adapt(database: DatabaseSync): Opened {
  const kept = new Kept();
  return {
    close() {
      kept.clear();
      if (database.isOpen) database.close();
    },
    prepare(text) {
      return kept.get(text) ?? prepare(database, text, kept);
    },
  };
}

/** Prepared statements by their text, in the order of their last use. */
class Kept {
  readonly #statements = new Map<string, Statement>();

  get(text: string): Statement | undefined {
    return this.#statements.get(text);
  }

  clear(): void {
    this.#statements.clear();
  }

  /** Takes note of a use. */
  used(text: string, statement: Statement, parameters: readonly unknown[]): void {
    this.#statements.delete(text);
    // Where a table gains a column, a star's statement would answer once more without it.
    if (text.includes("*") || parameters.some(isLarge)) return;
    this.#statements.set(text, statement);
    if (this.#statements.size <= MOST_PREPARED) return;
    for (const [oldest] of this.#statements) {
      this.#statements.delete(oldest);
      break;
    }
  }
}

function prepare(database: DatabaseSync, text: string, kept: Kept): Statement {
  const prepared = database.prepare(text);
  const statement: Statement = {
    reader: prepared.columns().length > 0,
    all(parameters) {
      kept.used(text, statement, parameters);
      return prepared.all(...bindable(parameters));
    },
    run(parameters) {
      kept.used(text, statement, parameters);
      return prepared.run(...bindable(parameters));
    },
    // Never kept: what is read bit by bit must not be begun anew by the next use of the same text.
    iterate: (parameters) => database.prepare(text).iterate(...bindable(parameters)),
  };
  return statement;
}

function isLarge(value: unknown): boolean {
  return (typeof value === "string" || types.isUint8Array(value)) && value.length > MOST_HELD;
}

function bindable(parameters: readonly unknown[]): Bindable[] {
  return parameters.map((value) => {
    if (value === undefined) return null;
    if (typeof value === "boolean") return value ? 1 : 0;
    // One of another realm, such as that of `node:vm`, is no `instanceof Date`.
    if (types.isDate(value)) return value.toISOString();
    // `node:sqlite` itself refuses what else it cannot store, and says so.
    return value as Bindable;
  });
}
