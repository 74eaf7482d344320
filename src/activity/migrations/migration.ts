/**
 * What a migration is.
 *
 * @module
 */
import type { Kysely } from "kysely";
import type { Dialect } from "../dialect.ts";

/** What a migration works on. */
export interface MigrationContext {
  /** The address as it may be shown. */
  readonly address: string;
  /** The transaction. */
  readonly db: Kysely<unknown>;
  /** Whose SQL. */
  readonly dialect: Dialect;
  /** The prefix of the tables. */
  readonly prefix: string;
}

/** One step of the schema. */
export interface Migration {
  /** Its number: the schema's version once it is applied. */
  readonly id: number;
  /** What it is called. */
  readonly name: string;
  /** The oldest version of the library's schema that may still work on the tables after it. */
  readonly oldest: number;
  /** The tables that it makes, without their prefix. */
  readonly tables: readonly string[];
  /** Does it. */
  up(context: MigrationContext): Promise<void>;
}
