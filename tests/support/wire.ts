/**
 * How a test and a broker in another process understand each other: one JSON text a line.
 *
 * @module
 */
import { ConfigError, ConnectionError, IncompatibleError } from "../../src/errors.ts";

/** What a test asks of the process: a call of a broker, or of one of its queues. */
export interface Request {
  /** Names the call in its reply. */
  readonly call: number;
  /** The method's name, or one of the process's own: `open`, `reset`. */
  readonly method: string;
  /** The queue whose method it is; none where it is the broker's. */
  readonly queue?: string;
  /** Its arguments, but for functions and signals. */
  readonly args: readonly unknown[];
}

/** Aborts the signal of a call that is under way. */
export interface Abort {
  /** The call. */
  readonly abort: number;
}

/** How an error travels. */
export interface WireError {
  /** The name of its class. */
  readonly name: string;
  /** Its message. */
  readonly message: string;
  /** What a `ConnectionError` says of itself. */
  readonly retryable?: boolean;
}

/** What the process says: the outcome of a call, or that a subscription has news. */
export type Answer =
  | { readonly call: number; readonly value?: unknown; readonly error?: WireError }
  | { readonly subscription: number; readonly message: string }
  | { readonly subscription: number; readonly reconnected: true };

/** A value as a line, with what JSON has no words for: maps and numbers that are not finite. */
export function encodeLine(value: unknown): Uint8Array<ArrayBuffer> {
  const text = JSON.stringify(value, (_, each: unknown) => {
    if (each instanceof Map) return { $map: [...each] };
    if (typeof each === "number" && !Number.isFinite(each)) return { $number: String(each) };
    return each;
  });
  return new TextEncoder().encode(`${text}\n`);
}

/** The value of a line. */
export function decodeLine(line: string): unknown {
  return JSON.parse(line, (_, each: unknown) => {
    if (typeof each !== "object" || each === null) return each;
    if ("$map" in each) return new Map(each.$map as [unknown, unknown][]);
    return "$number" in each ? Number(each.$number) : each;
  });
}

/** Each line of a stream of bytes. */
export async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const bytes of stream) {
    const parts = (rest + decoder.decode(bytes, { stream: true })).split("\n");
    rest = parts.pop() ?? "";
    yield* parts;
  }
}

/** An error as it travels. */
export function wireError(error: unknown): WireError {
  if (!(error instanceof Error)) return { name: "Error", message: `Thrown: ${String(error)}` };
  const { name, message } = error;
  return error instanceof ConnectionError
    ? { name, message, retryable: error.retryable }
    : { name, message };
}

/** The error of the same class. */
export function errorOf({ name, message, retryable = false }: WireError): Error {
  switch (name) {
    case "ConnectionError":
      return new ConnectionError(message, { retryable });
    case "IncompatibleError":
      return new IncompatibleError(message);
    case "ConfigError":
      return new ConfigError(message);
    case "RangeError":
      return new RangeError(message);
    case "TypeError":
      return new TypeError(message);
    default:
      return new Error(`${name}: ${message}`);
  }
}
