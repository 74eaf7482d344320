/**
 * Filters, the same on both databases.
 *
 * @module
 */
import { type RawBuilder, sql } from "kysely";
import type { ActivityFilter } from "./activity.ts";
import type { Dialect } from "./dialect.ts";

const KEY = /^[A-Za-z0-9_.-]{1,64}$/;

/** The condition of a filter. */
export function whereOf(dialect: Dialect, filter: ActivityFilter): RawBuilder<unknown> {
  const { status, taskName, queue, kind, metadata } = filter;
  const conditions: RawBuilder<unknown>[] = [];
  if (status !== undefined) {
    const statuses = typeof status === "string" ? [status] : [...status];
    conditions.push(statuses.length === 0 ? sql`1 = 0` : sql`status in (${sql.join(statuses)})`);
  }
  if (taskName !== undefined) conditions.push(sql`task_name = ${taskName}`);
  if (queue !== undefined) conditions.push(sql`queue = ${queue}`);
  if (kind !== undefined) conditions.push(sql`kind = ${kind}`);
  for (const [key, value] of Object.entries(metadata ?? {})) {
    conditions.push(member(dialect, key, value));
  }
  return conditions.length === 0 ? sql`1 = 1` : sql.join(conditions, sql` and `);
}

function member(dialect: Dialect, key: string, value: unknown): RawBuilder<unknown> {
  if (!KEY.test(key)) {
    throw new RangeError(
      `Cannot filter by metadata: ${
        JSON.stringify(key)
      } must be 1 to 64 letters, digits, '_', '.' or '-'`,
    );
  }
  const scalar = value === null || typeof value === "boolean" ||
    (typeof value === "string" && value.isWellFormed() && !value.includes("\0")) ||
    (typeof value === "number" && Number.isFinite(value));
  if (!scalar) {
    throw new TypeError(
      `Cannot filter by metadata: the value of '${key}' must be a string, a finite number, a boolean or null`,
    );
  }
  const json = JSON.stringify(value);
  // The arrow of SQLite gives the member's JSON as it was stored, so that 1, "1" and true stay apart.
  return dialect === "postgres"
    ? sql`metadata -> ${key}::text = ${json}::jsonb`
    : sql`json_extract(metadata, '$') is not null and metadata -> ${`$."${key}"`} = ${json}`;
}
