/**
 * Time: durations as objects, waits that can be aborted, and deadlines on a monotonic clock. The only
 * file of the library that touches `setTimeout`.
 *
 * @module
 */

/**
 * A length of time as an object, so that the unit is always written down. A `Temporal.Duration` of
 * days and smaller units fits too.
 *
 * @example
 * ```ts
 * import type { Duration } from "@agentexec/core";
 *
 * const patience: Duration = { minutes: 1, seconds: 30 };
 * ```
 */
export interface Duration {
  /** Days of 24 hours. */
  readonly days?: number;
  /** Hours. */
  readonly hours?: number;
  /** Minutes. */
  readonly minutes?: number;
  /** Seconds. */
  readonly seconds?: number;
  /** Milliseconds. */
  readonly milliseconds?: number;
}

const UNITS = {
  days: 86_400_000,
  hours: 3_600_000,
  minutes: 60_000,
  seconds: 1_000,
  milliseconds: 1,
} as const;

/**
 * The milliseconds of a duration.
 *
 * @param duration What the caller gave.
 * @param name The option it was given for, as the error shall name it.
 * @throws {TypeError} If it is no object of the known units.
 * @throws {RangeError} If a unit or the sum is negative or not finite.
 */
export function toMilliseconds(duration: Duration, name: string): number {
  if (typeof duration === "number") {
    throw new TypeError(
      `Cannot use ${duration} as '${name}': a duration is an object, for example { seconds: ${duration} }`,
    );
  }
  if (typeof duration !== "object" || duration === null) {
    throw new TypeError(
      `Cannot use ${
        String(duration)
      } as '${name}': a duration is an object of days, hours, minutes, ` +
        `seconds and milliseconds`,
    );
  }
  let sum = 0;
  for (const [unit, size] of Object.entries(UNITS)) {
    const value = duration[unit as keyof Duration];
    if (value === undefined) continue;
    if (typeof value !== "number" || !Number.isFinite(value) || value < 0) {
      throw new RangeError(
        `Cannot use '${name}': ${unit} must be a finite number of at least 0, current value is ${value}`,
      );
    }
    sum += value * size;
  }
  // A plain object with an unknown key is a typing error; a Temporal.Duration keeps its units on the
  // prototype, so its larger units are asked for by name.
  const unknown = [
    ...Object.keys(duration).filter((key) => !(key in UNITS)),
    ...["years", "months", "weeks"].filter((key) => Reflect.get(duration, key)),
  ];
  if (unknown.length > 0) {
    throw new TypeError(
      `Cannot use '${name}': '${
        unknown[0]
      }' is not one of days, hours, minutes, seconds, milliseconds`,
    );
  }
  if (Object.keys(UNITS).every((unit) => duration[unit as keyof Duration] === undefined)) {
    throw new TypeError(
      `Cannot use '${name}': it names none of days, hours, minutes, seconds, milliseconds`,
    );
  }
  if (!Number.isFinite(sum)) {
    throw new RangeError(`Cannot use '${name}': the sum is not a finite number of milliseconds`);
  }
  return sum;
}

/**
 * As they are when the library is loaded: a test that puts fake timers in their place drives its own code by them,
 * and no wait of the library stands still with them.
 */
const { setTimeout, clearTimeout } = globalThis;
const now = performance.now.bind(performance);

/** Milliseconds on a clock that never goes back; only differences mean something. */
export function monotonicMs(): number {
  return now();
}

/** The wall clock in milliseconds, for what is shown, never for a lease or a deadline. */
export function wallClockMs(): number {
  return Date.now();
}

/** The longest delay that one timer can hold (2^31 - 1 ms). */
const LONGEST_TIMER_MS = 2_147_483_647;

/** What {@linkcode sleep} may be told. */
export interface SleepOptions {
  /** Ends the wait early; the promise then resolves, the caller looks at the signal. */
  readonly signal?: AbortSignal | undefined;
}

/** Resolves after `ms` milliseconds, or as soon as the signal aborts. Never rejects. */
export function sleep(ms: number, options: SleepOptions = {}): Promise<void> {
  const { signal } = options;
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, Math.min(Math.max(0, ms), LONGEST_TIMER_MS));
    signal?.addEventListener("abort", done, { once: true });
  });
}

/** How pauses grow. */
export interface Pauses {
  /** The first one, in milliseconds; each is twice as long as the one before. */
  readonly firstMs: number;
  /** The longest, in milliseconds. */
  readonly mostMs: number;
  /**
   * Whether a pause is as long as it says. Otherwise it is shorter by up to a half, at random, so that not all who wait
   * come back at the same moment.
   *
   * @default {false}
   */
  readonly exact?: boolean;
}

/** How long to wait, in milliseconds, after `failures` tries have failed in a row (at least 1). */
export function backoff(failures: number, { firstMs, mostMs, exact = false }: Pauses): number {
  const ms = Math.min(firstMs * 2 ** (failures - 1), mostMs);
  return exact ? ms : ms * (1 - Math.random() / 2);
}

/** Resolves when the signal aborts. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

/** What {@linkcode withDeadline} may be told. */
export interface DeadlineOptions {
  /** How long to wait, in milliseconds. */
  readonly ms: number;
  /** Makes the error of a wait that took too long. */
  readonly error: () => Error;
}

/** The promise's outcome, or the error of `options` once the time is up. The promise itself goes on. */
export function withDeadline<T>(promise: Promise<T>, options: DeadlineOptions): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(options.error()),
      Math.min(Math.max(0, options.ms), LONGEST_TIMER_MS),
    );
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

/** Whether the promise settles within `ms` milliseconds, either way. Leaves no timer behind. */
export async function settlesWithin(promise: Promise<unknown>, ms: number): Promise<boolean> {
  const settled = new AbortController();
  const outcome = promise.then(() => true, () => true);
  const waited = sleep(ms, { signal: settled.signal }).then(() => false);
  const inTime = await Promise.race([outcome, waited]);
  settled.abort();
  return inTime;
}

/** Stops a {@linkcode repeat}ed action; resolves when a run under way has ended. */
export type StopRepeating = () => Promise<void>;

/** What {@linkcode repeat} repeats. */
export interface Repeated {
  /** One run; it handles the errors that it expects. */
  readonly action: (signal: AbortSignal) => Promise<void>;
  /** Told of what a run throws all the same. The next run comes at its time: nothing ends the repetition but a stop. */
  readonly onError: (error: unknown) => void;
}

/** Runs an action every `ms` milliseconds, never twice at a time, until stopped. Nothing is rethrown. */
export function repeat(ms: number, { action, onError }: Repeated): StopRepeating {
  const stop = new AbortController();
  const loop = (async () => {
    while (!stop.signal.aborted) {
      await sleep(ms, { signal: stop.signal });
      if (stop.signal.aborted) return;
      try {
        await action(stop.signal);
      } catch (error) {
        // Nobody waits for this loop: thrown on, the error would end the process.
        onError(error);
      }
    }
  })();
  return () => {
    stop.abort();
    return loop;
  };
}

/** Calls `action` once after `ms` milliseconds unless the returned function was called before. */
export function after(ms: number, action: () => void): () => void {
  const timer = setTimeout(action, Math.min(Math.max(0, ms), LONGEST_TIMER_MS));
  return () => clearTimeout(timer);
}

/**
 * A slice of the event loop's time, for work that never waits itself: without a pause between its pieces, no timer, signal
 * or socket of the process is served until all of it is done.
 */
export class TimeSlice {
  readonly #ms: number;
  #endsAt: number | undefined;
  #forget: () => void = () => {};

  /** Slices of `ms` milliseconds. */
  constructor(ms: number) {
    this.#ms = ms;
  }

  /** Whether the event loop has not turned for a whole slice: then `sleep(0)` lets it. */
  get isOver(): boolean {
    if (this.#endsAt !== undefined) return monotonicMs() > this.#endsAt;
    this.#endsAt = monotonicMs() + this.#ms;
    this.#forget = after(0, () => this.#endsAt = undefined);
    return false;
  }

  /** Leaves no timer behind. */
  end(): void {
    this.#forget();
    this.#endsAt = undefined;
  }
}
