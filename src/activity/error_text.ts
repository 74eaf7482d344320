/**
 * What went wrong, as both databases can hold it.
 *
 * @module
 */
import { sanitizeText } from "../task/text.ts";
import type { ActivityFailure } from "./activity.ts";

/** The most bytes of an error's text, and of a failure's message and stack. */
export const ERROR_BYTES: number = 16 * 1_024;
const NAME_BYTES = 256;

/** A failure without what no database holds, cut to its limits. */
export function storableFailure({ name, message, stack }: ActivityFailure): ActivityFailure {
  return {
    name: sanitizeText(name, NAME_BYTES),
    message: sanitizeText(message, ERROR_BYTES),
    stack: stack === null ? null : sanitizeText(stack, ERROR_BYTES),
  };
}

/** The JSON of a failure's column; null if there is none. */
export function detailJson(failure: ActivityFailure | undefined): string | null {
  if (failure === undefined) return null;
  const { message, stack } = failure;
  return JSON.stringify({ message, stack });
}
