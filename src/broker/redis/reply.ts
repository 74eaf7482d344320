/**
 * What Redis answers, and how it is read. The scripts answer with arrays of strings and whole numbers
 * only, so an unexpected shape is a fault of this library.
 *
 * @module
 */
import { AgentexecError } from "../../errors.ts";

/** An answer. */
export type Reply = string | number | null | readonly Reply[] | { readonly [key: string]: Reply };

function unexpected(reply: Reply | undefined, wanted: string): AgentexecError {
  return new AgentexecError(
    `Cannot read Redis's answer: ${wanted} was expected, current value is ${JSON.stringify(reply)}`,
  );
}

/** The answer as an array. */
export function asArray(reply: Reply | undefined): readonly Reply[] {
  if (Array.isArray(reply)) return reply;
  throw unexpected(reply, "an array");
}

/** The answer as a string. */
export function asString(reply: Reply | undefined): string {
  if (typeof reply === "string") return reply;
  if (typeof reply === "number") return String(reply);
  throw unexpected(reply, "a string");
}

/** The answer as a finite number. */
export function asNumber(reply: Reply | undefined): number {
  const number = typeof reply === "string" && reply !== "" ? Number(reply) : reply;
  if (typeof number === "number" && Number.isFinite(number)) return number;
  throw unexpected(reply, "a number");
}

/** The answer as one of the words that are possible. */
export function asWord<Word extends string>(
  reply: Reply | undefined,
  words: readonly Word[],
): Word {
  const word = words.find((each) => each === reply);
  if (word !== undefined) return word;
  throw unexpected(reply, words.join(" or "));
}
