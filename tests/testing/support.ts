/**
 * A pool for the tests of the kit: one task for each thing that they look at.
 *
 * @module
 */
import { defineTask, Pool, type PoolOptions, type TaskDefinition } from "@agentexec/core";
import { z } from "zod";

/** Where the tests' clocks stand. */
export const NINE: Date = new Date("2030-01-01T09:00:00.000Z");

/** The same, so many minutes later. */
export function nineAnd(minutes: number): Date {
  return new Date(NINE.getTime() + minutes * 60_000);
}

const text = z.object({ text: z.string() });

/** Answers with its text in capitals. */
export const shout = defineTask("shout", { context: text, result: z.string() });
/** Enqueues itself until nothing is left. */
export const chain = defineTask("chain", { context: z.object({ left: z.number() }) });
/** Throws. */
export const fail = defineTask("fail", { context: text });
/** Answers with what its schema refuses. */
export const lie = defineTask("lie", { result: z.object({ summary: z.string() }) });
/** Waits for a `shout` of its own and adds to it. */
export const ask = defineTask("ask", { context: text, result: z.string() });
/** Runs until it is told to stop. */
export const hold = defineTask("hold");
/** Of the queue of another pool. */
export const elsewhere = defineTask("elsewhere", { context: text, queue: "another" });

/** A pool and what its handlers tell of themselves. */
export interface Subject extends AsyncDisposable {
  readonly pool: Pool;
  /** Resolves when a `hold` runs. */
  readonly holding: Promise<void>;
}

/** A pool of a name of its own, with all tasks but `elsewhere`. */
export function makeSubject(options: PoolOptions = {}): Subject {
  const pool = new Pool({ name: crypto.randomUUID(), queueName: "kit", ...options });
  const holding = Promise.withResolvers<void>();
  pool.task(shout, ({ context }) => context.text.toUpperCase());
  pool.task(chain, async ({ context: { left } }) => {
    if (left > 0) await pool.enqueue(chain, { left: left - 1 });
    return left;
  });
  pool.task(fail, ({ context }) => {
    throw new RangeError(context.text, { cause: new TypeError("the reason") });
  });
  pool.task(lie as TaskDefinition, () => ({ summary: 1 }));
  pool.task(ask, async ({ context }) => {
    const task = await pool.enqueue(shout, context);
    return `${await task.result()}!`;
  });
  pool.task(hold, async ({ signal }) => {
    holding.resolve();
    await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
    signal.throwIfAborted();
  });
  return { pool, holding: holding.promise, [Symbol.asyncDispose]: () => pool.close() };
}
