/**
 * Values of which JSON keeps nothing, or nothing that anybody could use, and what to write down in their place.
 *
 * Kinds are told by what a value is, not by whose class it is: those of another realm (`node:vm`, jsdom) are the same.
 *
 * @module
 */
import { types } from "node:util";

/** By the name of the kind, as {@linkcode Object.prototype.toString} gives it. */
const INSTEAD: Readonly<Record<string, string>> = {
  Map: "Object.fromEntries(map) or an array of pairs, [...map]",
  Set: "an array, [...set]",
  Promise: "await it",
  RegExp: "its source",
  Error: "its message",
  DOMException: "its message",
  ArrayBuffer: "Base64",
  SharedArrayBuffer: "Base64",
  Blob: "its text, await blob.text(), or Base64",
  File: "its text, await file.text(), or Base64",
  Response: "await response.json() or await response.text()",
  Request: "request.url or await request.json()",
  Headers: "Object.fromEntries(headers)",
  FormData: "Object.fromEntries(form)",
  URLSearchParams: "Object.fromEntries(params) or String(params)",
  ReadableStream: "what it holds, such as await new Response(stream).text()",
  Generator: "what it yields as an array, [...generator]",
  AsyncGenerator: "what it yields as an array, await Array.fromAsync(generator)",
};

/** What to write down in place of a value that JSON would lose; undefined if JSON can hold it. */
export function insteadOfLossy(value: unknown): string | undefined {
  if (typeof value === "bigint") return "its text, String(value)";
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  if (ArrayBuffer.isView(value)) return "Base64";
  if (types.isNativeError(value)) return INSTEAD["Error"];
  const kind = Object.prototype.toString.call(value).slice(8, -1);
  if (Object.hasOwn(INSTEAD, kind)) return INSTEAD[kind];
  if (/\bIterator( Helper)?$/.test(kind)) return "an array, Array.from(iterator)";
  if (isCallable(value, "then")) return "await it";
  if (isCallable(value, Symbol.asyncIterator)) {
    return "what it yields as an array, await Array.fromAsync(value)";
  }
  if (isPlain(value) || types.isBoxedPrimitive(value) || hasMembers(value)) return undefined;
  return "a plain object of what is to be kept, or give its class a toJSON()";
}

/** Whether a value is an object as `{}` makes it, in whatever realm. */
export function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype ||
    // An object of another realm has that realm's Object.prototype.
    Object.getPrototypeOf(prototype) === null;
}

function isCallable(value: object, key: PropertyKey): boolean {
  return typeof Reflect.get(value, key) === "function";
}

/** Whether JSON keeps at least one member of it. */
function hasMembers(value: object): boolean {
  return Object.keys(value).some((key) =>
    !["undefined", "function", "symbol"].includes(typeof Reflect.get(value, key))
  );
}
