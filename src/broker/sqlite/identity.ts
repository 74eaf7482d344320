/**
 * Which file a path names just now: one that was deleted goes on taking writes that nobody will ever read.
 *
 * @module
 */
import { statSync } from "node:fs";

/** Tells one file from another at the same path; null where there is none, as in memory. */
export function identityOf(path: string): string | null {
  // It takes no right to use memory, and one to look for a file of that name.
  if (path === ":memory:") return null;
  const found = statSync(path, { throwIfNoEntry: false });
  return found === undefined ? null : `${found.dev}:${found.ino}`;
}
