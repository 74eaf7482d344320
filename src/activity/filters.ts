/**
 * Filters, the same on both databases.
 *
 * @module
 */
import { type Expression, expressionBuilder, type RawBuilder, sql } from "kysely";
import { isStorable } from "../task/text.ts";
import type { ActivityFilter } from "./activity.ts";
import type { Dialect } from "./dialect.ts";

const KEY = /^[A-Za-z0-9_.-]{1,64}$/;

/** Refuses what is no name of a member of the metadata. */
export function checkMetadataKey(key: string, doing: string): void {
  if (typeof key === "string" && KEY.test(key)) return;
  throw new RangeError(
    `Cannot ${doing}: ${
      JSON.stringify(key)
    } must be 1 to 64 letters, digits, '_', '.' or '-' to be a member of the metadata`,
  );
}

/** What no row meets. */
const NEVER = sql`1 = 0`;

/** The condition of a filter. */
export function whereOf(dialect: Dialect, filter: ActivityFilter): RawBuilder<unknown> {
  const { status, taskName, queue, kind, metadata } = filter;
  const conditions: RawBuilder<unknown>[] = [];
  if (status !== undefined) conditions.push(oneOf("status", [status].flat()));
  if (taskName !== undefined) conditions.push(oneOf("task_name", [taskName]));
  if (queue !== undefined) conditions.push(oneOf("queue", [queue]));
  if (kind !== undefined) conditions.push(oneOf("kind", [kind]));
  for (const [key, value] of Object.entries(metadata ?? {})) {
    conditions.push(member(dialect, key, value));
  }
  return conditions.length === 0 ? sql`1 = 1` : sql.join(conditions, sql` and `);
}

function oneOf(column: string, values: readonly string[]): RawBuilder<unknown> {
  for (const value of values) {
    if (typeof value === "string") continue;
    throw new TypeError(
      `Cannot filter by ${column}: it must be a string, current value is ${value}`,
    );
  }
  // No row holds what cannot be stored, and Postgres would refuse the question.
  const storable = values.filter(isStorable);
  return storable.length === 0 ? NEVER : sql`${sql.ref(column)} in (${sql.join(storable)})`;
}

function member(dialect: Dialect, key: string, value: unknown): RawBuilder<unknown> {
  checkMetadataKey(key, "filter by metadata");
  const scalar = value === null || typeof value === "boolean" || typeof value === "string" ||
    (typeof value === "number" && Number.isFinite(value));
  if (!scalar) {
    throw new TypeError(
      `Cannot filter by metadata: the value of '${key}' must be a string, a finite number, a boolean or null`,
    );
  }
  if (typeof value === "string" && !isStorable(value)) return NEVER;
  const json = JSON.stringify(value);
  // The arrow of SQLite gives the member's JSON as it was stored, so that 1, "1" and true stay apart.
  return dialect === "postgres"
    ? sql`${metadataMember(dialect, key)} = cast(${json}::text as jsonb)`
    : sql`${metadataMember(dialect, key)} = ${json}`;
}

/**
 * A member of the metadata as a filter asks for it and an index has it: the same text in both, since a
 * database knows no parameters in the expression of an index.
 */
export function metadataMember(dialect: Dialect, key: string): Expression<unknown> {
  const { ref } = expressionBuilder<
    { activity: { metadata: Record<string, unknown> } },
    "activity"
  >();
  return ref("metadata", dialect === "postgres" ? "->" : "->$").key(key);
}
