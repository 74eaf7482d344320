/**
 * Waiting for a condition instead of for a length of time.
 *
 * @module
 */

import { noteWait } from "./pending.ts";

/** What {@linkcode waitFor} may be told. */
export interface WaitOptions {
  /** What is awaited, as the error of a wait that took too long shall say it. */
  readonly what: string;
  /** How long to wait before giving up. The number is no assertion, only the end of patience. */
  readonly timeoutMs?: number;
}

/** What a condition gives while it is not met. */
export type Falsy = false | null | undefined | 0 | "";

const POLL_MS = 10;

/**
 * Asks `condition` every 10 ms until what it gives is truthy, and returns that. A condition that throws
 * is asked again, so that "the row is there" may be written as a query that fails until it is.
 */
export async function waitFor<T>(
  condition: () => T | Promise<T>,
  options: WaitOptions,
): Promise<Exclude<T, Falsy>> {
  const { what, timeoutMs = 30_000 } = options;
  const giveUpAt = performance.now() + timeoutMs;
  const over = noteWait(what);
  try {
    for (;;) {
      const last = await outcomeOf(condition, giveUpAt - performance.now());
      if (last.kind === "value" && last.value) return last.value as Exclude<T, Falsy>;
      if (performance.now() >= giveUpAt) {
        throw new Error(`Waited ${timeoutMs} ms in vain for ${what}: ${described(last)}`, {
          cause: last.kind === "error" ? last.error : undefined,
        });
      }
      await pause(POLL_MS);
    }
  } finally {
    over();
  }
}

/** The promise's outcome, or an error that says what did not come within `timeoutMs`. */
export async function within<T>(promise: Promise<T>, options: WaitOptions): Promise<T> {
  const { what, timeoutMs = 10_000 } = options;
  const over = noteWait(what);
  let timer: ReturnType<typeof setTimeout> | undefined;
  const patience = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`Waited ${timeoutMs} ms in vain for ${what}`)),
      timeoutMs,
    );
  });
  try {
    return await Promise.race([promise, patience]);
  } finally {
    over();
    clearTimeout(timer);
  }
}

/** Lets `ms` milliseconds pass: for the helpers of this folder alone, tests wait for conditions. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

type Outcome<T> =
  | { readonly kind: "value"; readonly value: T }
  | { readonly kind: "error"; readonly error: unknown }
  | { readonly kind: "none" };

/** What the condition gives or throws; `none` where it has not answered when patience ends. */
async function outcomeOf<T>(
  condition: () => T | Promise<T>,
  patienceMs: number,
): Promise<Outcome<T>> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const noAnswer = new Promise<Outcome<T>>((resolve) => {
    timer = setTimeout(() => resolve({ kind: "none" }), Math.max(patienceMs, POLL_MS));
  });
  try {
    const answer = (async (): Promise<Outcome<T>> => ({
      kind: "value",
      value: await condition(),
    }))().catch((error: unknown): Outcome<T> => ({ kind: "error", error }));
    return await Promise.race([answer, noAnswer]);
  } finally {
    clearTimeout(timer);
  }
}

function described(last: Outcome<unknown>): string {
  switch (last.kind) {
    case "value":
      return `the last value was ${Deno.inspect(last.value, { depth: 4 })}`;
    case "error":
      return `the last attempt threw ${Deno.inspect(last.error)}`;
    case "none":
      return "the condition did not answer";
    default:
      return last satisfies never;
  }
}
