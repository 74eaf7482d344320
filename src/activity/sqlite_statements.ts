/**
 * What a statement of SQLite does, as far as its text tells.
 *
 * @module
 */
import { AgentexecError } from "../errors.ts";

/** Whether a statement may change the database, and so takes the lock of its file. Rather yes than no. */
export function mayWrite(text: string): boolean {
  const [, word = ""] = /^(?:\s+|--[^\n]*\n|\/\*[^]*?\*\/)*(\w+)/.exec(text) ?? [];
  switch (word.toLowerCase()) {
    case "select":
    case "values":
    case "explain":
    case "pragma":
    case "begin":
    case "commit":
    case "end":
    case "rollback":
    case "savepoint":
    case "release":
      return false;
    case "with":
      return /\b(insert\s+(or\s+\w+\s+)?into|replace\s+into|update|delete\s+from)\b/i.test(text);
    default:
      return true;
  }
}

/** Why a statement was refused in a transaction that only reads. */
export function readOnlyError(cause?: unknown): AgentexecError {
  return new AgentexecError(
    "Cannot write in this transaction: it began as 'read only' (setAccessMode)",
    { cause },
  );
}
