/**
 * Who a line is from, carried by a record to the default console sink and to nobody else: a symbol on the
 * record is no property, so no other sink writes it.
 *
 * @module
 */
import type { LogRecord } from "@logtape/logtape";
import { declaredPools } from "../task/declared.ts";

const PREFIX = Symbol("agentexec.prefix");

/** The record with its prefix. */
export function withPrefix(record: LogRecord, prefix: string): LogRecord {
  return Object.assign(record, { [PREFIX]: prefix });
}

/** The prefix of a record; undefined where the program itself logged it. */
export function prefixOf(record: LogRecord): string | undefined {
  const prefix: unknown = Reflect.get(record, PREFIX);
  return typeof prefix === "string" ? prefix : undefined;
}

/** The prefix of a supervisor's own lines. */
export function poolPrefix(pool: string): string {
  return declaredPools().size > 1 ? pool : "Pool";
}
