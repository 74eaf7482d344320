/**
 * What a test gives its kit, checked at the door.
 *
 * @module
 */
import { types } from "node:util";
import { wallClockMs } from "../clock.ts";
import { AgentexecError } from "../errors.ts";
import { checkOptions } from "../options.ts";
import { Pool } from "../pool/pool.ts";
import { workerConnections } from "../program/role.ts";
import { kindOf } from "../show.ts";
import type { TaskDefinition } from "../task/definition.ts";
import type { TestPoolOptions, TestPoolRunOptions } from "./test_pool.ts";

/** How many runs are too many where nothing else is said. */
export const RUN_LIMIT = 10_000;
/** The broker's tokens are microseconds, which have to stay whole numbers. */
const LATEST_MS = Date.UTC(2200, 0);

/** The pool, where a kit can be made of it here. */
export function checkPool(pool: Pool): Pool {
  if (!(pool instanceof Pool)) {
    throw new TypeError(
      `Cannot make a test kit: it takes a Pool, current value is ${kindOf(pool)}`,
    );
  }
  if (workerConnections() === undefined) return pool;
  throw new AgentexecError(
    `Cannot make a test kit of pool '${pool.name}': this process is a worker`,
  );
}

/** Where the clock stands at first, in milliseconds of the Unix epoch. */
export function clockOf(options: TestPoolOptions): number {
  checkOptions("make a test kit", options, ["clock"]);
  const { clock } = options;
  if (clock === undefined) return wallClockMs();
  // A Date of another realm, such as that of jsdom, is no `instanceof Date`.
  if (types.isDate(clock)) return checkTime(Date.prototype.getTime.call(clock), "clock");
  throw new TypeError(
    `Cannot make a test kit: 'clock' must be a Date, current value is ${kindOf(clock)}`,
  );
}

/** Refuses a time that the kit's clock cannot show. */
export function checkTime(ms: number, name: string): number {
  if (ms >= 0 && ms < LATEST_MS) return ms;
  throw new RangeError(
    `Cannot use '${name}': the kit's clock goes from 1970 to 2199, current value is ${
      Number.isNaN(new Date(ms).getTime()) ? `${ms} ms` : new Date(ms).toISOString()
    }`,
  );
}

/** Refuses what is no definition, such as a task's name. */
export function checkDefinition(definition: TaskDefinition | undefined): void {
  if (definition === undefined || typeof definition?.name === "string") return;
  throw new TypeError(
    `Cannot list what waits of a task: it takes a definition (defineTask), current value is ${
      kindOf(definition)
    }`,
  );
}

/** How many runs are too many. */
export function limitOf(options: TestPoolRunOptions): number {
  checkOptions("run the tasks", options, ["limit"]);
  const { limit = RUN_LIMIT } = options;
  if (Number.isSafeInteger(limit) && limit >= 1) return limit;
  throw new RangeError(
    `Cannot use 'limit': it must be a whole number of at least 1, current value is ${
      String(limit)
    }`,
  );
}
