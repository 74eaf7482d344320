/**
 * What the two databases say differently.
 *
 * @module
 */
import { type Kysely, type RawBuilder, sql } from "kysely";

/** Whose SQL. */
export type Dialect = "postgres" | "sqlite";

/** The database's own time, now. */
export function nowOf(dialect: Dialect): RawBuilder<unknown> {
  return dialect === "postgres" ? sql`now()` : sql`strftime('%Y-%m-%dT%H:%M:%fZ', 'now')`;
}

/** The database's own time, some milliseconds ago. */
export function agoOf(dialect: Dialect, ms: number): RawBuilder<unknown> {
  return dialect === "postgres"
    ? sql`now() - make_interval(secs => ${ms / 1_000}::double precision)`
    : sql`strftime('%Y-%m-%dT%H:%M:%fZ', 'now', ${`-${ms / 1_000} seconds`})`;
}

/**
 * Whether the row's id is one of these. One parameter, so that it is one text however many. On Postgres a set of rows,
 * not an array: a plan that reads the whole table would take the text of an array apart for each of its rows.
 */
export function idIn(dialect: Dialect, ids: readonly string[]): RawBuilder<boolean> {
  return dialect === "postgres"
    ? sql`agent_id in (select unnest(cast(${`{${ids.join(",")}}`}::text as uuid[])))`
    : sql`agent_id in (select value from json_each(${JSON.stringify(ids)}))`;
}

/** A JSON text as a value of a JSON column. Sent as text: some drivers would encode it once more. */
export function jsonOf(dialect: Dialect, text: string | null): RawBuilder<unknown> {
  return dialect === "postgres" ? sql`cast(${text}::text as jsonb)` : sql`${text}`;
}

/** JSON as JavaScript writes it: the same value is then the same text, which filters in SQLite need. */
export function plainJson(json: string): string {
  return JSON.stringify(JSON.parse(json));
}

/** A JSON column as text. */
export function jsonText(dialect: Dialect, column: string): RawBuilder<string | null> {
  return dialect === "postgres" ? sql`${sql.ref(column)}::text` : sql`${sql.ref(column)}`;
}

/** The first and the last time that both databases read and compare as text. */
const FIRST_MS = Date.parse("0001-01-01T00:00:00.000Z");
const LAST_MS = Date.parse("9999-12-31T23:59:59.999Z");

/** A point in time as a value of a time column; one beyond the years 1 to 9999 as their first or last moment. */
export function timeOf(dialect: Dialect, time: Date | undefined): RawBuilder<unknown> {
  const text = time === undefined
    ? null
    : new Date(Math.min(Math.max(time.getTime(), FIRST_MS), LAST_MS)).toISOString();
  return dialect === "postgres" ? sql`cast(${text}::text as timestamptz)` : sql`${text}`;
}

/**
 * A time column as ISO 8601 text in UTC. The text that Postgres itself makes of a time depends on the `DateStyle` and
 * the `TimeZone` of the role, the database and the session.
 */
export function timeText(dialect: Dialect, column: string): RawBuilder<string | null> {
  return dialect === "postgres"
    ? sql`to_char(${sql.ref(column)} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`
    : sql`${sql.ref(column)}`;
}

/**
 * A column of floating-point numbers with every digit. The text that Postgres itself makes of one depends on
 * `extra_float_digits`; {@linkcode toNumberOrNull} reads the bytes.
 */
export function numberText(dialect: Dialect, column: string): RawBuilder<string | number | null> {
  return dialect === "postgres"
    ? sql`encode(float8send(${sql.ref(column)}), 'hex')`
    : sql`${sql.ref(column)}`;
}

/** The number that {@linkcode numberText} asked for. */
export function toNumberOrNull(value: string | number | null): number | null {
  if (typeof value !== "string") return value;
  const bytes = new DataView(new ArrayBuffer(8));
  bytes.setBigUint64(0, BigInt(`0x${value}`));
  return bytes.getFloat64(0);
}

/** The milliseconds from one time to another: a number, or the text of one. */
export function millisecondsBetween(
  dialect: Dialect,
  from: RawBuilder<unknown>,
  to: RawBuilder<unknown>,
): RawBuilder<number | string> {
  return dialect === "postgres"
    ? sql`(extract(epoch from (${to} - ${from})) * 1000)`
    : sql`(julianday(${to}) - julianday(${from})) * 86400000.0`;
}

/**
 * A transaction that may write. SQLite lets no transaction that has begun by reading write once another
 * process has written: there it begins as one that writes, whoever made the connection.
 */
export async function inTransaction<T>(
  db: Kysely<unknown>,
  dialect: Dialect,
  body: (db: Kysely<unknown>) => Promise<T>,
): Promise<T> {
  if (dialect === "postgres") {
    // What a role or a database has as its default could only fail more often: rows are locked before they are judged.
    return await db.transaction().setIsolationLevel("read committed").execute(body);
  }
  return await db.connection().execute(async (connection) => {
    await sql`begin immediate`.execute(connection);
    try {
      const result = await body(connection);
      await sql`commit`.execute(connection);
      return result;
    } catch (error) {
      await rollBack(connection);
      throw error;
    }
  });
}

async function rollBack(connection: Kysely<unknown>): Promise<void> {
  try {
    await sql`rollback`.execute(connection);
  } catch (error) {
    // A full disk has rolled it back already; that first error is the one that counts.
    if (!(error instanceof Error && /no transaction is active/.test(error.message))) throw error;
  }
}

/** A time that {@linkcode timeText} asked for. */
export function toDate(value: string): Date {
  return new Date(value);
}

/** The same for a column that may be null. */
export function toDateOrNull(value: string | null): Date | null {
  return value === null ? null : toDate(value);
}
