/**
 * URLs as they are given by a program.
 *
 * @module
 */

/** Whether a value is a URL object, of whatever realm: one of `node:vm` or jsdom is no `instanceof URL`. */
export function isUrl(value: unknown): value is URL {
  return Object.prototype.toString.call(value) === "[object URL]";
}
