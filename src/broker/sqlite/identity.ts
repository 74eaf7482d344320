/**
 * Which file a path names just now: one that was deleted goes on taking writes that nobody will ever read.
 *
 * @module
 */
import { statSync } from "node:fs";

/** Tells one file from another at the same path; null where there is none. */
export function identityOf(path: string): string | null {
  const found = statSync(path, { throwIfNoEntry: false });
  return found === undefined ? null : `${found.dev}:${found.ino}`;
}
