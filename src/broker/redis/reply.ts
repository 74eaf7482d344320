/**
 * What Redis answers, and how it is read. The scripts answer with arrays of strings and whole numbers
 * only, so an unexpected shape is a fault of this library.
 *
 * @module
 */
import { AgentexecError } from "../../errors.ts";

/**
 * A refusal, in the server's words. Each driver has an error of its own for it, and hands on this one. For something else
 * than a refusal a driver has other errors.
 */
export class ErrorReply extends Error {
  override readonly name = "ErrorReply";
  /** The word that it begins with, such as `NOSCRIPT`, `READONLY` or `ERR`; undefined if it begins with none. */
  readonly code: string | undefined;

  /** Reads the code from the text. */
  constructor(text: string) {
    super(text);
    // Redis 7 answers `ERR … can't run this command …` where a script lacks a permission.
    this.code = /^(ERR|NOPERM).*(can't run this command|has no permissions|can't access)/.test(text)
      ? "NOPERM"
      : /^[A-Z][A-Z0-9]+/.exec(text)?.[0];
  }
}

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
