/**
 * What every broker refuses before it calls anybody.
 *
 * @module
 */
import type { NewTask } from "./broker.ts";

const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/**
 * When a task is due, in whole milliseconds: of the Unix epoch where it has `runAtMs`, else from now.
 *
 * @throws {RangeError} If its id is no lower-case UUID, or the time is not finite.
 */
export function checkNewTask({ id, runAtMs, delayMs }: NewTask): number {
  if (!ID.test(id)) {
    throw new RangeError(
      `Cannot enqueue a task: its id must be a lower-case UUID, current value is ${
        JSON.stringify(id)
      }`,
    );
  }
  const ms = Math.ceil(runAtMs ?? delayMs ?? 0);
  if (Number.isSafeInteger(ms)) return ms;
  throw new RangeError(
    `Cannot enqueue task ${id}: when it is due must be a finite number of milliseconds, current value is ${ms}`,
  );
}

/**
 * Refuses a token that cannot be counted on from.
 *
 * @throws {RangeError} If it is no whole number up to 2^53 - 1: both brokers count in doubles.
 */
export function checkToken(queue: string, token: string): void {
  if (/^\d{1,16}$/.test(token) && Number.isSafeInteger(Number(token))) return;
  throw new RangeError(
    `Cannot raise the token of '${queue}': it must be a whole number up to 2^53 - 1, current value is ${
      JSON.stringify(token)
    }`,
  );
}
