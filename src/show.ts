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

/** What kind of value this is, in words. Never throws, whatever it is given. */
export function kindOf(value: unknown): string {
  if (value === null) return "null";
  switch (typeof value) {
    case "undefined":
      return "undefined";
    case "number":
      return Number.isFinite(value) ? "a number" : String(value);
    case "bigint":
      return "a BigInt";
    case "object":
      return kindOfObject(value);
    default:
      return `a ${typeof value}`;
  }
}

function kindOfObject(value: object): string {
  try {
    if (Array.isArray(value)) return "an array";
    const kind = Object.prototype.toString.call(value).slice(8, -1);
    const name = kind === "Object" ? classOf(value) : kind;
    if (name === "Object" || name === "") return "an object";
    return `${/^[AEIO]/.test(name) ? "an" : "a"} ${name}`;
  } catch {
    return "an object that cannot be read"; // Such as a revoked proxy.
  }
}

/** The name of an object's class; empty if it has none. */
function classOf(value: object): string {
  const prototype: unknown = Object.getPrototypeOf(value);
  if (typeof prototype !== "object" || prototype === null) return "";
  const constructor: unknown = Reflect.get(prototype, "constructor");
  return typeof constructor === "function" ? constructor.name : "";
}
