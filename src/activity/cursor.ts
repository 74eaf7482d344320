/**
 * Cursors: where a page ended. Opaque to callers, and checked when they come back.
 *
 * @module
 */

import { validate as isUuid } from "uuid";

/** The last activity of a page. */
export interface Position {
  /** Its time, to the database's last digit. */
  readonly createdAt: string;
  /** Its id. */
  readonly agentId: string;
}

/** A position as text. */
export function encodeCursor({ createdAt, agentId }: Position): string {
  return btoa(`${createdAt} ${agentId}`).replaceAll("=", "").replaceAll("+", "-").replaceAll(
    "/",
    "_",
  );
}

/**
 * The position of a text.
 *
 * @throws {RangeError} If it is no cursor.
 */
export function decodeCursor(text: string): Position {
  const match = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3,6}Z) (\S+)$/.exec(plain(text));
  const [, createdAt, agentId] = match ?? [];
  const isTime = createdAt !== undefined && !Number.isNaN(Date.parse(createdAt));
  if (!isTime || agentId === undefined || !isUuid(agentId)) {
    throw new RangeError("Cannot list activities: 'after' must be the 'next' of the page before");
  }
  return { createdAt, agentId };
}

function plain(text: string): string {
  try {
    return atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  } catch {
    // No base64, so no cursor: the caller says so.
    return "";
  }
}
