/**
 * Saying that a broker is in use, so that `cancelPending()` at another broker of the same database leaves its tasks
 * alone.
 *
 * @module
 */
import { showBroker } from "../addresses.ts";
import { monotonicMs } from "../clock.ts";
import { ConnectionError } from "../errors.ts";
import type { Stores } from "./stores.ts";
import { warn } from "./warn.ts";

/** How often it is said again. */
export const SAY_EVERY_MS = 60_000;

/**
 * Notes in the database that the broker of a queue is used now; returns the broker's id.
 *
 * @throws {ConnectionError} If the database cannot be reached.
 */
export async function noteBrokerUse(stores: Stores, queueName: string): Promise<string> {
  const id = await stores.currentBrokerId(queueName);
  // A test kit's broker is nobody else's.
  if (!stores.isReplaced) {
    const address = showBroker(stores.brokerAddress);
    await (await stores.activity()).noteBrokerUse({ id, queue: queueName, address });
  }
  return id;
}

/** When each client last said it, by queue, on the monotonic clock. */
const said = new WeakMap<Stores, Map<string, number>>();

/**
 * The same for a producer, at most once a minute. Never rejects: a task is not refused because of it, and if the
 * database is away the next statement says so.
 */
export async function noteProducer(stores: Stores, queueName: string): Promise<void> {
  const times = said.get(stores) ?? new Map<string, number>();
  said.set(stores, times);
  const now = monotonicMs();
  if (now - (times.get(queueName) ?? -Infinity) < SAY_EVERY_MS) return;
  times.set(queueName, now);
  try {
    await noteBrokerUse(stores, queueName);
  } catch (error) {
    if (error instanceof ConnectionError) return;
    if (!stores.mayWarn("the use of the broker")) return;
    const { message } = error as Error;
    const grant = /permission denied/.test(message)
      ? `; GRANT SELECT, INSERT, UPDATE ON ${stores.tablePrefix}broker`
      : "";
    warn(
      `Cannot note in the database that the broker is in use, so that cancelPending() of another broker may take its ` +
        `tasks for abandoned: ${message}${grant}`,
    );
  }
}
