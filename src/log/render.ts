/**
 * A record's message as text.
 *
 * @module
 */
import type { LogRecord } from "@logtape/logtape";
import { inspectSafely } from "./values.ts";

/** The message with its values in place: strings as they are, an error with its stack, all else inspected. */
export function renderMessage(message: LogRecord["message"]): string {
  if (message.length === 1) return text(message[0]);
  return message.map(text).join("");
}

function text(part: unknown): string {
  return typeof part === "string" ? part : inspectSafely(part);
}
