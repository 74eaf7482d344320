/**
 * What the two databases say differently.
 *
 * @module
 */
import { type RawBuilder, sql } from "kysely";

/** Whose SQL. */
export type Dialect = "postgres" | "sqlite";

/** The database's own time, now. */
export function nowOf(dialect: Dialect): RawBuilder<unknown> {
  return dialect === "postgres" ? sql`now()` : sql`strftime('%Y-%m-%dT%H:%M:%fZ', 'now')`;
}

/** A JSON text as a value of a JSON column. */
export function jsonOf(dialect: Dialect, text: string | null): RawBuilder<unknown> {
  return dialect === "postgres" ? sql`${text}::jsonb` : sql`${text}`;
}

/** A JSON column as text. */
export function jsonText(dialect: Dialect, column: string): RawBuilder<string | null> {
  return dialect === "postgres" ? sql`${sql.ref(column)}::text` : sql`${sql.ref(column)}`;
}

/** A point in time as a value of a time column. */
export function timeOf(dialect: Dialect, time: Date | undefined): RawBuilder<unknown> {
  const text = time?.toISOString() ?? null;
  return dialect === "postgres" ? sql`${text}::timestamptz` : sql`${text}`;
}

/** The milliseconds from one time column to another. */
export function millisecondsBetween(
  dialect: Dialect,
  from: RawBuilder<unknown>,
  to: RawBuilder<unknown>,
): RawBuilder<number> {
  return dialect === "postgres"
    ? sql`(extract(epoch from (${to} - ${from})) * 1000)::double precision`
    : sql`(julianday(${to}) - julianday(${from})) * 86400000.0`;
}

/** A time that a driver gave. */
export function toDate(value: unknown): Date {
  return value instanceof Date ? value : new Date(String(value));
}

/** The same, where there may be none. */
export function toDateOrNull(value: unknown): Date | null {
  return value === null || value === undefined ? null : toDate(value);
}
