/**
 * Dates as they are given by a program.
 *
 * @module
 */
import { types } from "node:util";
import { kindOf } from "../show.ts";

/**
 * A `Date` of this realm for one of any realm: those that `node:vm` or jsdom made are no `instanceof Date`.
 *
 * @param name What errors call it.
 * @throws {TypeError} If it is none, or an invalid one.
 */
export function checkDate(value: unknown, name: string): Date {
  const ms = types.isDate(value) ? Date.prototype.getTime.call(value) : undefined;
  if (ms !== undefined && !Number.isNaN(ms)) return new Date(ms);
  throw new TypeError(
    `Cannot use '${name}': it must be a valid Date, current value is ${
      ms === undefined ? kindOf(value) : "an invalid one"
    }`,
  );
}
