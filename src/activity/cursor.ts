/**
 * Cursors: where a page ended. Opaque to callers, and checked when they come back.
 *
 * @module
 */

import { isAgentId } from "../task/agent_id.ts";

/** The last activity of a page. */
export interface Position {
  /** Its time, to the database's last digit. */
  readonly createdAt: string;
  /** Its id. */
  readonly agentId: string;
}

/** The last activity of a page of the order `active`. */
export interface ActivePosition extends Position {
  /** Its group: 0 for what ran, 1 for what waited, 2 for the rest. */
  readonly group: number;
  /** When the first page was read, by the database's clock: the groups are those of that moment. */
  readonly asOf: string;
}

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3,6}Z$/;

/** A position as text. */
export function encodeCursor({ createdAt, agentId }: Position): string {
  return encode([createdAt, agentId]);
}

/** A position in the order `active` as text. */
export function encodeActiveCursor({ group, asOf, createdAt, agentId }: ActivePosition): string {
  return encode([String(group), asOf, createdAt, agentId]);
}

/**
 * The position of a text.
 *
 * @throws {RangeError} If it is no cursor, or one of the order `active`.
 */
export function decodeCursor(text: string): Position {
  const [createdAt = "", agentId, ...rest] = decode(text);
  if (!isTime(createdAt) || !isAgentId(agentId) || rest.length > 0) throw noCursor();
  return { createdAt, agentId };
}

/**
 * The position of a text in the order `active`.
 *
 * @throws {RangeError} If it is no cursor, or one of another order.
 */
export function decodeActiveCursor(text: string): ActivePosition {
  const [group = "", asOf = "", createdAt = "", agentId, ...rest] = decode(text);
  const isCursor = /^[012]$/.test(group) && isTime(asOf) && isTime(createdAt) && rest.length === 0;
  if (!isCursor || !isAgentId(agentId)) throw noCursor();
  return { group: Number(group), asOf, createdAt, agentId };
}

function noCursor(): RangeError {
  return new RangeError(
    "Cannot list activities: 'after' must be the 'next' of the page before, in the same order",
  );
}

function isTime(text: string): boolean {
  return TIME.test(text) && !Number.isNaN(Date.parse(text));
}

function encode(parts: readonly string[]): string {
  return btoa(parts.join(" ")).replaceAll("=", "").replaceAll("+", "-").replaceAll("/", "_");
}

function decode(text: string): readonly string[] {
  if (typeof text !== "string") return [];
  try {
    return atob(text.replaceAll("-", "+").replaceAll("_", "/")).split(" ");
  } catch {
    // No base64, so no cursor: the caller says so.
    return [];
  }
}
