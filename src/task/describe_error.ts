/**
 * Whatever was thrown, as text: a headline and the whole story with its causes. The one place where the
 * library looks into what a handler threw, and it never throws itself.
 *
 * @module
 */
import { sanitizeText } from "./text.ts";

/** What was thrown, described. */
export interface ErrorDescription {
  /** One line: `TypeError: x is not a function`. */
  readonly headline: string;
  /** The headline, the stack and the causes, at most 16 KiB. */
  readonly text: string;
}

/** An error in parts, each at most 16 KiB. */
export interface ErrorParts {
  /** Its name; `"Error"` if something else than an error was thrown. */
  readonly name: string;
  /** Its message. */
  readonly message: string;
  /** Its stack; null if it has none. */
  readonly stack: string | null;
}

const MAX_TEXT_BYTES = 16 * 1024;
const MAX_HEADLINE_BYTES = 1024;
const MAX_NAME_BYTES = 256;
/** Of one error in a chain, so that a huge message does not push out its cause. */
const MAX_MESSAGE_CHARS = 5_000;
const MAX_FRAMES_CHARS = 3_000;
const MAX_CAUSES = 8;
const MAX_SIBLINGS = 10;

/** Describes what was thrown. Never throws, whatever it is: a string, nothing, a revoked proxy. */
export function describeError(thrown: unknown): ErrorDescription {
  const own = read(thrown);
  return {
    headline: sanitizeText(own.title.replace(/\s*[\r\n]+\s*/g, " ").trim(), MAX_HEADLINE_BYTES),
    text: sanitizeText(tell(own, new Set([thrown])).join("\n"), MAX_TEXT_BYTES),
  };
}

/** What was thrown, in parts and without its causes. Never throws either. */
export function partsOfError(thrown: unknown): ErrorParts {
  const { title, frames, error } = read(thrown);
  const { name, message } = error ?? { name: "Error", message: title };
  return {
    name: sanitizeText(name, MAX_NAME_BYTES),
    message: sanitizeText(message, MAX_TEXT_BYTES),
    stack: frames === "" ? null : sanitizeText(`${title}\n${frames}`, MAX_TEXT_BYTES),
  };
}

/** What could be read of one thrown value. */
interface Reading {
  /** Its name and message; undefined if it is no error. */
  readonly error?: { readonly name: string; readonly message: string };
  /** `TypeError: x is not a function`, as long as it is. */
  readonly title: string;
  /** The lines of the stack that name places; empty where there are none. */
  readonly frames: string;
  /** The cause; undefined where there is none. */
  readonly cause?: unknown;
  /** What an AggregateError gathers. */
  readonly errors: readonly unknown[];
}

function read(thrown: unknown): Reading {
  try {
    if (typeof thrown === "object" && thrown !== null && isError(thrown)) return readError(thrown);
    return { title: titleOfValue(thrown), frames: "", errors: [] };
  } catch {
    // A revoked proxy, or a trap that throws: there is nothing to be had from it.
    return { title: "Thrown object that cannot be read", frames: "", errors: [] };
  }
}

/** Errors of another realm are no `instanceof Error`, so what looks like one is one. */
function isError(thrown: object): boolean {
  return thrown instanceof Error ||
    (typeof get(thrown, "message") === "string" && typeof get(thrown, "name") === "string");
}

function readError(error: object): Reading {
  const name = text(get(error, "name")) || "Error";
  const whole = text(get(error, "message"));
  const message = cut(whole, MAX_MESSAGE_CHARS);
  const cause = get(error, "cause");
  return {
    error: { name, message: whole },
    title: message === "" ? name : `${name}: ${message}`,
    frames: framesOf(text(get(error, "stack"))),
    ...(cause === undefined ? {} : { cause }),
    errors: siblingsOf(get(error, "errors")),
  };
}

function siblingsOf(errors: unknown): readonly unknown[] {
  return Array.isArray(errors) ? errors.slice(0, MAX_SIBLINGS) : [];
}

/** The stack without its head, which repeats name and message as they were when it was made. */
function framesOf(stack: string): string {
  const start = stack.search(/\n\s+at /);
  if (start < 0) return "";
  const frames = stack.slice(start + 1);
  if (frames.length <= MAX_FRAMES_CHARS) return frames;
  return frames.slice(0, frames.lastIndexOf("\n", MAX_FRAMES_CHARS));
}

function titleOfValue(thrown: unknown): string {
  if (thrown === undefined || thrown === null) return `Thrown ${thrown}`;
  if (typeof thrown === "object") return `Thrown object: ${cut(json(thrown), MAX_MESSAGE_CHARS)}`;
  if (typeof thrown === "function") return "Thrown function";
  return `Thrown ${typeof thrown}: ${cut(String(thrown), MAX_MESSAGE_CHARS)}`;
}

function json(value: object): string {
  try {
    return JSON.stringify(value) ?? Object.prototype.toString.call(value);
  } catch {
    return Object.prototype.toString.call(value); // A cycle, a BigInt: its kind must do.
  }
}

/** A member, or undefined where reading it throws. */
function get(object: object, key: string): unknown {
  try {
    return Reflect.get(object, key);
  } catch {
    return undefined;
  }
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function cut(value: string, chars: number): string {
  return value.length <= chars ? value : `${value.slice(0, chars)}…`;
}

/** The lines of an error, of what it gathers, and of its causes; each error once. */
function tell(own: Reading, seen: Set<unknown>): string[] {
  const lines = [own.title, ...(own.frames === "" ? [] : [own.frames])];
  for (const [index, each] of own.errors.entries()) {
    if (seen.has(each) || seen.size > MAX_CAUSES) continue;
    seen.add(each);
    lines.push(`Error ${index + 1} of ${own.errors.length}: ${tell(read(each), seen).join("\n")}`);
  }
  if (own.cause !== undefined && !seen.has(own.cause) && seen.size <= MAX_CAUSES) {
    seen.add(own.cause);
    lines.push(`Caused by: ${tell(read(own.cause), seen).join("\n")}`);
  }
  return lines;
}
