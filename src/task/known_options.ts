/**
 * The check of option objects at the door: what is misspelt would otherwise be ignored in silence.
 *
 * @module
 */
import { kindOf } from "../show.ts";

/**
 * Refuses what is no object of options, and an option that there is none of.
 *
 * @param doing What the call does, as errors say it: `list activities`.
 * @param options What the caller gave.
 * @param allowed The names of the options.
 * @throws {TypeError} If it is no object, or holds another name.
 */
export function checkOptions(doing: string, options: object, allowed: readonly string[]): void {
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    throw new TypeError(
      `Cannot ${doing}: the options must be an object, current value is ${kindOf(options)}`,
    );
  }
  const unknown = Object.keys(options).find((key) => !allowed.includes(key));
  if (unknown === undefined) return;
  throw new TypeError(
    `Cannot ${doing}: unknown option '${unknown}', expected ${
      allowed.length === 1 ? allowed[0] : `one of ${allowed.join(", ")}`
    }`,
  );
}
