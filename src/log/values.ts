/**
 * Any value of a log record as JSON of a bounded size, and back. What JSON has no word for travels as an
 * object with the key `~`, so that an error is an error again where the record is written.
 *
 * @module
 */
import { inspect, types } from "node:util";

/** What JSON can say. */
export type Json =
  | null
  | boolean
  | number
  | string
  | readonly Json[]
  | { readonly [key: string]: Json };

/** How much of a value may be written, in characters; used up while encoding. */
export interface Budget {
  /** Characters left. */
  left: number;
}

const TAG = "~";
const MAX_DEPTH = 10;
const MAX_DECODED_DEPTH = 64;
const MAX_MEMBERS = 1_000;
const ELLIPSIS = "…";

/** A value as text, as a developer wants to see it. Never throws, whatever the value is. */
export function inspectSafely(value: unknown): string {
  try {
    return inspect(value, {
      depth: 4,
      maxArrayLength: 100,
      maxStringLength: 10_000,
      breakLength: Infinity,
      colors: false,
    });
  } catch {
    // A revoked proxy, or an inspection of its own that throws.
    return `[${typeof value} that cannot be shown]`;
  }
}

/** The value as JSON, as far as the budget goes. Never throws. */
export function encodeValue(value: unknown, budget: Budget): Json {
  return encode(value, { budget, depth: 0, value: undefined, outer: undefined });
}

/** The members of an object as JSON, as far as the budget goes. Never throws. */
export function encodeMembers(
  members: Readonly<Record<string, unknown>>,
  budget: Budget,
): { readonly [key: string]: Json } {
  return encodeObject(members, { budget, depth: 0, value: members, outer: undefined });
}

/** What {@linkcode encodeValue} was given, as near as it can be had. */
export function decodeValue(json: unknown): unknown {
  return decode(json, 0);
}

/** The members of an object that {@linkcode encodeMembers} made. */
export function decodeMembers(json: object): Record<string, unknown> {
  return decodeObject(json, 0);
}

interface Position {
  readonly budget: Budget;
  readonly depth: number;
  /** The object whose members are being encoded. */
  readonly value: unknown;
  /** Where that object lies, and so on outwards, to notice a cycle. */
  readonly outer: Position | undefined;
}

function encode(value: unknown, at: Position): Json {
  switch (typeof value) {
    case "string":
      return spend(value, at.budget);
    case "boolean":
      return value;
    case "number":
      at.budget.left -= 8;
      return Number.isFinite(value) ? value : tagged("number", String(value));
    case "bigint":
      return tagged("bigint", spend(String(value), at.budget));
    case "undefined":
      return { [TAG]: "undefined" };
    case "symbol":
    case "function":
      return spend(inspectSafely(value), at.budget);
    default:
      return value === null ? null : encodeSafely(value as object, at);
  }
}

/** Reading an object may run code of its own, which may throw. */
function encodeSafely(value: object, at: Position): Json {
  if (liesIn(value, at)) return "[Circular]";
  if (at.depth >= MAX_DEPTH || at.budget.left <= 0) return ELLIPSIS;
  const inside = { budget: at.budget, depth: at.depth + 1, value, outer: at };
  try {
    return encodeByKind(value, inside);
  } catch {
    return spend(inspectSafely(value), at.budget);
  }
}

function liesIn(value: object, at: Position): boolean {
  for (let each: Position | undefined = at; each !== undefined; each = each.outer) {
    if (each.value === value) return true;
  }
  return false;
}

function encodeByKind(value: object, inside: Position): Json {
  if (Array.isArray(value)) return encodeArray(value, inside);
  // Not `instanceof` alone: values of another realm, such as that of `node:vm`, are the same.
  if (types.isDate(value)) return tagged("date", value.getTime());
  if (types.isNativeError(value) || value instanceof Error) return encodeError(value, inside);
  if ("toJSON" in value && typeof value.toJSON === "function") {
    return encode(value.toJSON(), inside);
  }
  if (Object.prototype.toString.call(value) !== "[object Object]") {
    return spend(inspectSafely(value), inside.budget);
  }
  const members = encodeObject(value, inside);
  return TAG in members ? { [TAG]: "object", value: members } : members;
}

function encodeArray(values: readonly unknown[], at: Position): Json {
  const encoded: Json[] = [];
  for (const value of values) {
    if (at.budget.left <= 0 || encoded.length >= MAX_MEMBERS) {
      encoded.push(`${ELLIPSIS} ${values.length - encoded.length} more`);
      break;
    }
    at.budget.left -= 1;
    encoded.push(encode(value, at));
  }
  return encoded;
}

function encodeObject(value: object, at: Position): { readonly [key: string]: Json } {
  const members: Record<string, Json> = {};
  const keys = Object.keys(value);
  let encoded = 0;
  for (const key of keys) {
    if (at.budget.left <= 0 || encoded >= MAX_MEMBERS) {
      setMember(members, ELLIPSIS, `${keys.length - encoded} more`);
      break;
    }
    at.budget.left -= 4;
    setMember(members, spend(key, at.budget), encodeMember(value, key, at));
    encoded++;
  }
  return members;
}

/** A key `__proto__` shall be a key like any other. */
function setMember<T>(members: Record<string, T>, key: string, member: T): void {
  if (key === "__proto__") define(members, key, member, true);
  else members[key] = member;
}

function encodeMember(value: object, key: string, at: Position): Json {
  try {
    return encode(Reflect.get(value, key), at);
  } catch {
    return "[getter that throws]";
  }
}

function encodeError(error: Error, at: Position): Json {
  const more = encodeObject(error, at);
  return {
    [TAG]: "error",
    name: spend(String(error.name), at.budget),
    message: spend(String(error.message), at.budget),
    ...(typeof error.stack === "string" ? { stack: spend(error.stack, at.budget) } : {}),
    ...(error.cause === undefined ? {} : { cause: encode(error.cause, at) }),
    ...("errors" in error ? { errors: encode(error.errors, at) } : {}),
    ...(Object.keys(more).length > 0 ? { more } : {}),
  };
}

function tagged(kind: string, value: Json): Json {
  return { [TAG]: kind, value };
}

/** The text, or as much of it as the budget still holds with a word on how much was cut. */
function spend(text: string, budget: Budget): string {
  const left = Math.max(0, budget.left);
  budget.left -= text.length;
  if (text.length <= left) return text;
  return `${text.slice(0, left)}${ELLIPSIS} (${text.length - left} more characters)`;
}

function decode(json: unknown, depth: number): unknown {
  if (typeof json !== "object" || json === null) return json;
  if (depth > MAX_DECODED_DEPTH) return ELLIPSIS;
  if (Array.isArray(json)) return json.map((each) => decode(each, depth + 1));
  if (!Object.hasOwn(json, TAG)) return decodeObject(json, depth);
  const value: unknown = Reflect.get(json, "value");
  switch (Reflect.get(json, TAG)) {
    case "undefined":
      return undefined;
    case "number":
      return Number(value);
    case "bigint":
      return typeof value === "string" && /^-?\d{1,4000}$/.test(value) ? BigInt(value) : value;
    case "date":
      return new Date(typeof value === "number" ? value : NaN);
    case "object":
      return typeof value === "object" && value !== null ? decodeObject(value, depth) : value;
    case "error":
      return decodeError(json, depth);
    default:
      return decodeObject(json, depth);
  }
}

function decodeObject(json: object, depth: number): Record<string, unknown> {
  const members: Record<string, unknown> = {};
  for (const key of Object.keys(json)) {
    setMember(members, key, decode(Reflect.get(json, key), depth + 1));
  }
  return members;
}

function decodeError(json: object, depth: number): Error {
  const text = (key: string) => {
    const value: unknown = Reflect.get(json, key);
    return typeof value === "string" ? value : "";
  };
  // deno-lint-ignore rooms/no-bare-error -- a copy of the program's error, not one of the library's
  const error = new Error(text("message"));
  const members: Record<string, unknown> = {};
  const more: unknown = Reflect.get(json, "more");
  if (typeof more === "object" && more !== null) {
    for (const [key, value] of Object.entries(decodeObject(more, depth))) members[key] = value;
  }
  for (const [key, value] of Object.entries(members)) define(error, key, value, true);
  define(error, "name", text("name") || "Error", false);
  // The stack made here tells of the relay and of nothing else.
  define(error, "stack", text("stack") || `${error.name}: ${error.message}`, false);
  for (const key of ["cause", "errors"]) {
    if (Object.hasOwn(json, key)) {
      define(error, key, decode(Reflect.get(json, key), depth + 1), false);
    }
  }
  return error;
}

function define(target: object, key: string, value: unknown, enumerable: boolean): void {
  Object.defineProperty(target, key, { value, enumerable, writable: true, configurable: true });
}
