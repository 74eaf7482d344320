/**
 * What went wrong, as both databases can hold it.
 *
 * @module
 */
import { sanitizeText } from "../task/text.ts";
import type { ActivityFailure } from "./activity.ts";
import type { ActivityWrite } from "./rows.ts";

/** The most bytes of an error's text, and of a failure's message and stack. */
export const ERROR_BYTES: number = 16 * 1_024;
/** The most bytes of a message. */
export const MESSAGE_BYTES: number = 1_024;
const NAME_BYTES = 256;
const REASON_BYTES = 200;

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

/** Other words for the texts of a write. */
interface Words {
  readonly text: (text: string, bytes: number) => string;
  readonly name: (name: string) => string;
  readonly stack: (stack: string | null) => string | null;
}

/**
 * A write that the database refused in words of ASCII that say so, those first that tell the most: its texts with the
 * characters escaped that not every encoding has; a sentence with the reason; that sentence alone, in case a rule is
 * about what the texts say.
 */
export function rewordings<T extends ActivityWrite>(write: T, reason: string): T[] {
  const why = escapeText(reason.replaceAll("\n", " "), REASON_BYTES);
  const short = "The database refused the text of this entry";
  const words: Words[] = [
    {
      text: (text, bytes) =>
        isAscii(text) ? text : escapeText(`${short} as it was (${why}): ${text}`, bytes),
      name: (name) => escapeText(name, NAME_BYTES),
      stack: (stack) => stack && escapeText(stack, ERROR_BYTES),
    },
    {
      text: () => `${short}: ${why}`,
      name: (name) => escapeText(name, NAME_BYTES),
      stack: () => null,
    },
    { text: () => short, name: () => "Error", stack: () => null },
  ];
  const { message = "", error = "", failure } = write;
  const texts = [message, error, failure?.name, failure?.message, failure?.stack].join("");
  // Words that are ASCII already are refused for what they say.
  return (isAscii(texts) ? words.slice(1) : words).map((each) => reworded(write, each));
}

function reworded<T extends ActivityWrite>(write: T, { text, name, stack }: Words): T {
  const { message, error, failure } = write;
  return {
    ...write,
    ...(message === undefined ? {} : { message: text(message, MESSAGE_BYTES) }),
    ...(error === undefined ? {} : { error: text(error, ERROR_BYTES) }),
    ...(failure === undefined ? {} : {
      failure: {
        name: name(failure.name),
        message: text(failure.message, ERROR_BYTES),
        stack: stack(failure.stack),
      },
    }),
  };
}

/** Visible characters and line breaks alone. */
const ODD = /[^\x20-\x7e\n\r\t]/gu;

function isAscii(text: string): boolean {
  return text.search(ODD) < 0;
}

function escapeText(text: string, bytes: number): string {
  // What there is no room for need not be escaped.
  const escaped = text.slice(0, bytes + 1).replace(
    ODD,
    (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`,
  );
  return escaped.length <= bytes ? escaped : `${escaped.slice(0, bytes - 3)}...`;
}
