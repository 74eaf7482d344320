/**
 * Why a process ended, in words for people.
 *
 * @module
 */

import { stripVTControlCharacters } from "node:util";

/** How a process ended. */
export interface ExitCause {
  /** Its exit code; null where a signal ended it. */
  readonly code: number | null;
  /** The signal that ended it; null where it exited. */
  readonly signal: Deno.Signal | null;
  /** The same in words. */
  readonly description: string;
}

/** Reads the status of a process. */
export function exitCause({ code, signal }: Deno.CommandStatus): ExitCause {
  if (signal === null) return { code, signal, description: `exit code ${code}` };
  // V8 traps when the heap limit is reached (measured on Deno 2.9.6: SIGTRAP, code 133).
  const words = signal === "SIGTRAP" ? `out of memory (${signal}: the heap limit)` : `${signal}`;
  return { code: null, signal, description: words };
}

const LONGEST = 500;

const UNCAUGHT = "error: Uncaught ";

/** How Deno says of a module that it waits, with nothing left that could end the wait. */
const WAITS_FOR_EVER = "Top-level await promise never resolved";

/** Whether Deno begins with this line to say what ends a process. */
export function isLastWord(line: string): boolean {
  return line.startsWith(UNCAUGHT) || line === `error: ${WAITS_FOR_EVER}`;
}

/** What Deno said of an error that nobody caught, from the end of a process's stderr. */
export function uncaughtFrom(stderr: string): string | undefined {
  const line = stripVTControlCharacters(stderr).split("\n").findLast(isLastWord);
  return line?.replace(/^error: (?:Uncaught )?(?:\(in promise\) )?/, "").slice(0, LONGEST);
}

/** The same with the lines of its message that follow, but neither source text nor stack. */
export function uncaughtMessage(stderr: string): string {
  const plain = stripVTControlCharacters(stderr);
  const start = plain.lastIndexOf(UNCAUGHT);
  const text = start < 0 ? plain : plain.slice(start);
  return text.split(/\n\s+at /, 1)[0] ?? "";
}
