/**
 * Values as JSON text: what is written down of a context, a result or metadata, and what is said where a
 * value cannot be written down without losing something.
 *
 * JSON's own habits are kept: a `Date` becomes its ISO string, whatever has a `toJSON` what that gives, a
 * member that is `undefined`, a function or a symbol is left out, and `NaN` and the infinities become
 * `null`. Refused is what would silently become an empty object: a `Map`, a `Set`, an `Error`, a `Response`, binary
 * data, an object whose class keeps everything private, and the like.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { ValidationError } from "../errors.ts";
import { kindOf } from "../show.ts";
import { describeError } from "./describe_error.ts";
import { insteadOfLossy } from "./lossy.ts";
import { findUnstorable } from "./text.ts";

/** How a value is encoded. */
export interface JsonOptions {
  /** The beginning of every error: `Cannot enqueue task 'research'`. */
  readonly failure: string;
  /** What the value is, the root of paths in errors: `context`. */
  readonly what: string;
  /** The most bytes of UTF-8 that the text may have. */
  readonly maxBytes: number;
  /** What sets that limit, as errors name it. */
  readonly limitName: string;
  /**
   * The verb of the advice that is given if JSON loses the value itself, as against one within it.
   *
   * @default {"use"}
   */
  readonly verb?: string;
}

/** A path as errors show it: `context.items[3].name`. */
export function showPath(root: string, path: readonly PropertyKey[]): string {
  const steps = path.map((step) => {
    if (/^\d{1,15}$/.test(String(step))) return `[${String(step)}]`;
    const name = String(step);
    if (/^[A-Za-z_$][\w$]{0,99}$/.test(name)) return `.${name}`;
    return `[${JSON.stringify(name.length > 100 ? `${name.slice(0, 100)}…` : name)}]`;
  });
  // A path of hundreds of steps helps nobody.
  const shown = steps.length > 12
    ? `${steps.slice(0, 9).join("")}…${steps.slice(-3).join("")}`
    : steps.join("");
  return root + shown;
}

/**
 * The JSON text of a value; undefined where JSON has none (`undefined`, a function, a symbol).
 *
 * @throws {ValidationError} If it cannot be written down, cannot be stored, or is too large.
 */
export function jsonText(value: unknown, options: JsonOptions): string | undefined {
  const text = stringify(value, options);
  if (text === undefined) return undefined;
  checkSize(text, options);
  // Such a character is always escaped in JSON text, so most texts need no walk.
  if (/\\u(0000|d[89a-f])/.test(text)) checkCharacters(JSON.parse(text), options);
  return text;
}

function stringify(
  value: unknown,
  { failure, what, verb = "use" }: JsonOptions,
): string | undefined {
  // Where JSON.stringify is now: the objects that it is in, and the key that it has come to in each.
  const holders: unknown[] = [];
  const keys: (string | undefined)[] = [];
  function visit(this: unknown, key: string, member: unknown): unknown {
    while (holders.length > 0 && holders.at(-1) !== this) {
      holders.pop();
      keys.pop();
    }
    if (holders.length === 0) {
      holders.push(this);
      keys.push("");
    } else keys[keys.length - 1] = key;
    const instead = insteadOfLossy(member);
    if (instead !== undefined) {
      throw new ValidationError(
        `${failure}: ${here()} is ${kindOf(member)}, which JSON cannot hold, ${
          instead === "await it" ? instead : `${keys.length > 1 ? "use" : verb} ${instead}`
        }`,
      );
    }
    if (typeof member === "object" && member !== null) {
      holders.push(member);
      keys.push(undefined);
    }
    return member;
  }
  function here(): string {
    return showPath(what, keys.slice(1).filter((key) => key !== undefined));
  }
  try {
    return JSON.stringify(value, visit);
  } catch (error) {
    if (error instanceof ValidationError) throw error;
    throw new ValidationError(`${failure}: ${here()} cannot be written as JSON, ${whyNot(error)}`, {
      cause: error,
    });
  }
}

function whyNot(error: unknown): string {
  if (error instanceof RangeError) return "it is nested too deeply or too large";
  if (error instanceof TypeError && /circular/i.test(error.message)) return "it contains itself";
  return `reading it threw ${describeError(error).headline}`;
}

function checkSize(text: string, { failure, what, maxBytes, limitName }: JsonOptions): void {
  // A UTF-16 unit is at most three bytes of UTF-8: most texts need no counting.
  if (text.length * 3 <= maxBytes) return;
  const bytes = Buffer.byteLength(text);
  if (bytes <= maxBytes) return;
  throw new ValidationError(
    `${failure}: the JSON of its ${what} is ${bytes} bytes, more than the ${maxBytes} that '${limitName}' allows`,
  );
}

function checkCharacters(value: unknown, { failure, what }: JsonOptions): void {
  const found = findUnstorable(value);
  if (found === undefined) return;
  const where = found.replace(/^\$/, () => what);
  throw new ValidationError(
    `${failure}: ${where} holds a NUL or half a surrogate pair, which no database can store`,
  );
}
