/**
 * Values as error messages show them.
 *
 * @module
 */

/** The value where it is short and can be written down, else its kind. Never throws. */
export function show(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.slice(0, 200));
  if (Array.isArray(value)) return "an array";
  if (typeof value === "function") return "a function";
  if (typeof value !== "object" || value === null) return String(value);
  const kind = Object.prototype.toString.call(value).slice(8, -1).replace(/^Object$/, "object");
  return `${/^[AEIO]/i.test(kind) ? "an" : "a"} ${kind}`;
}
