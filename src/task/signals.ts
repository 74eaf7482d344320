/**
 * Signals as they are given by a program.
 *
 * @module
 */
import { kindOf } from "../show.ts";

/**
 * Refuses what is no `AbortSignal`, told by its members: those that jsdom or a polyfill made are no `instanceof`.
 *
 * @throws {TypeError} If it is none.
 */
export function checkSignal(signal: unknown): asserts signal is AbortSignal | undefined {
  if (signal === undefined) return;
  const fits = typeof signal === "object" && signal !== null &&
    typeof Reflect.get(signal, "aborted") === "boolean" &&
    typeof Reflect.get(signal, "addEventListener") === "function";
  if (fits) return;
  throw new TypeError(
    `Cannot use 'signal': it must be an AbortSignal, current value is ${kindOf(signal)}`,
  );
}
