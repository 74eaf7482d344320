/**
 * Filters, the same on both databases.
 *
 * @module
 */
import { type Expression, expressionBuilder, type RawBuilder, sql } from "kysely";
import { kindOf } from "../show.ts";
import { isAgentId } from "../task/agent_id.ts";
import { checkDate } from "../task/dates.ts";
import { isPlain } from "../task/lossy.ts";
import { isStorable } from "../task/text.ts";
import type { ActivityFilter, ActivityKind, ActivityStatus, MetadataFilter } from "./activity.ts";
import { type Dialect, idIn, timeOf } from "./dialect.ts";

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

const STATUSES: readonly ActivityStatus[] = ["queued", "running", "complete", "error", "canceled"];
const KINDS: readonly ActivityKind[] = ["task", "record"];

/** What no row meets. */
const NEVER = sql`1 = 0`;

/** The condition of a filter. */
export function whereOf(dialect: Dialect, filter: ActivityFilter): RawBuilder<unknown> {
  const { status, taskName, queue, kind, metadata, errorName, agentIds } = filter;
  const conditions: RawBuilder<unknown>[] = [];
  if (status !== undefined) {
    conditions.push(oneOf("status", known("status", [status].flat(), STATUSES)));
  }
  if (taskName !== undefined) conditions.push(oneOf("task_name", texts("taskName", [taskName])));
  if (queue !== undefined) conditions.push(oneOf("queue", texts("queue", [queue])));
  if (kind !== undefined) conditions.push(oneOf("kind", known("kind", [kind], KINDS)));
  if (errorName !== undefined) {
    conditions.push(
      sql`${oneOf("error_name", texts("errorName", [errorName]))} and error is not null`,
    );
  }
  if (agentIds !== undefined) conditions.push(idIn(dialect, checkIds(agentIds)));
  const times = [["createdAfter", sql`>=`], ["createdBefore", sql`<`]] as const;
  for (const [option, compared] of times) {
    const time = filter[option];
    if (time === undefined) continue;
    conditions.push(sql`created_at ${compared} ${timeOf(dialect, checkDate(time, option))}`);
  }
  if (metadata !== undefined) checkMetadataFilter(metadata);
  for (const [key, value] of Object.entries(metadata ?? {})) {
    conditions.push(member(dialect, key, value));
  }
  return conditions.length === 0 ? sql`1 = 1` : sql.join(conditions, sql` and `);
}

/** What is misspelt would find nothing in silence. */
function known<T extends string>(
  option: string,
  values: readonly T[],
  allowed: readonly T[],
): readonly T[] {
  for (const value of values) {
    if (allowed.includes(value)) continue;
    throw new TypeError(
      `Cannot filter by '${option}': it must be one of ${allowed.join(", ")}, current value is ${
        JSON.stringify(value) ?? String(value)
      }`,
    );
  }
  return values;
}

function checkIds(ids: readonly string[]): readonly string[] {
  if (!Array.isArray(ids)) {
    throw new TypeError(
      `Cannot filter by 'agentIds': it must be an array of UUIDs, current value is ${kindOf(ids)}`,
    );
  }
  for (const [index, id] of ids.entries()) {
    if (isAgentId(id)) continue;
    throw new TypeError(
      `Cannot filter by 'agentIds': agentIds[${index}] must be a UUID, current value is ${
        typeof id === "string" ? JSON.stringify(id.slice(0, 60)) : kindOf(id)
      }`,
    );
  }
  return ids.map((id) => id.toLowerCase());
}

function texts(option: string, values: readonly string[]): readonly string[] {
  for (const value of values) {
    if (typeof value === "string") continue;
    throw new TypeError(
      `Cannot filter by '${option}': it must be a string, current value is ${kindOf(value)}`,
    );
  }
  return values;
}

function oneOf(column: string, values: readonly string[]): RawBuilder<unknown> {
  // No row holds what cannot be stored, and Postgres would refuse the question.
  const storable = values.filter(isStorable);
  return storable.length === 0 ? NEVER : sql`${sql.ref(column)} in (${sql.join(storable)})`;
}

/** Refuses a filter on the metadata that cannot be meant. */
export function checkMetadataFilter(filter: MetadataFilter): void {
  // A Map has no members of its own: as a filter it would let everything pass.
  if (typeof filter !== "object" || filter === null || Array.isArray(filter) || !isPlain(filter)) {
    throw new TypeError(
      "Cannot filter by metadata: the filter must be a plain object of members and their values, current value is " +
        kindOf(filter),
    );
  }
  for (const [key, value] of Object.entries(filter)) {
    checkMetadataKey(key, "filter by metadata");
    const scalar = value === null || typeof value === "boolean" || typeof value === "string" ||
      (typeof value === "number" && Number.isFinite(value));
    if (scalar) continue;
    throw new TypeError(
      `Cannot filter by metadata: the value of '${key}' must be a string, a finite number, a boolean or null`,
    );
  }
}

/** Whether metadata has each member of a filter with its very value, as the condition in SQL decides it. */
export function meetsMetadata(json: string, filter: MetadataFilter): boolean {
  const metadata: Record<string, unknown> = JSON.parse(json);
  return Object.entries(filter).every(([key, value]) =>
    // As JSON, so that 0 and -0 are one number.
    Object.hasOwn(metadata, key) && JSON.stringify(metadata[key]) === JSON.stringify(value)
  );
}

function member(dialect: Dialect, key: string, value: unknown): RawBuilder<unknown> {
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
