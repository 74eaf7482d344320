/**
 * The life cycle that every long-lived part has, put under stress.
 *
 * @module
 */

import { within } from "./wait.ts";

/** A part that can be started and stopped. */
export interface Lifecycle extends Partial<AsyncDisposable> {
  /** Resolves when the part is ready. */
  start(): Promise<unknown>;
  /** Resolves when the part has ended; does nothing where it does not run. */
  stop(): Promise<unknown>;
}

/**
 * Starts and stops a part in every order that a program may choose. Makes a new part for each order, as
 * whether a stopped one may start again is the part's own affair.
 *
 * @param make Gives a part that has not been started.
 */
export async function stressLifecycle(make: () => Lifecycle | Promise<Lifecycle>): Promise<void> {
  await story("stop() before start()", make, async (part) => {
    await part.stop();
  });
  await story("start(), then stop() twice in a row", make, async (part) => {
    await part.start();
    await part.stop();
    await part.stop();
  });
  await story("start(), then three stop() at once", make, async (part) => {
    await part.start();
    await Promise.all([part.stop(), part.stop(), part.stop()]);
  });
  await story("stop() while start() is under way", make, async (part) => {
    const starting = part.start();
    await part.stop();
    // Whether a start that was cut off resolves or rejects is the part's own affair, but it ends.
    await Promise.allSettled([starting]);
    await part.stop();
  });
  await story("start(), stop(), then start() and stop() again", make, async (part) => {
    await part.start();
    await part.stop();
    // Whether one that was stopped starts again, refuses to or stays as it is, is the part's own affair too.
    await Promise.allSettled([part.start()]);
    await part.stop();
  });
  await story("start(), then the end of an await using block", make, async (part) => {
    await part.start();
    await part[Symbol.asyncDispose]?.();
    await part.stop();
  });
}

async function story(
  name: string,
  make: () => Lifecycle | Promise<Lifecycle>,
  tell: (part: Lifecycle) => Promise<void>,
): Promise<void> {
  const part = await make();
  await within(tell(part), { what: `the part to end after ${name}`, timeoutMs: 30_000 });
}
