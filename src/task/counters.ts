/**
 * How many times each event happened to a task: the one list, from which rows, claims and new tasks take theirs.
 *
 * @module
 */

/** How many times each event happened to a task. */
export interface Counters {
  /** Claims so far; the number of the present run. */
  readonly attempt: number;
  /** Runs whose handler threw. */
  readonly failures: number;
  /** Runs whose process died. */
  readonly crashes: number;
  /** Claims whose lease ran out. */
  readonly lapses: number;
}

/** Those of a task that is new. */
export const NO_COUNTERS: Counters = { attempt: 0, failures: 0, crashes: 0, lapses: 0 };

/** Their names, which are those of their columns and members. */
export const COUNTERS = Object.keys(NO_COUNTERS) as readonly (keyof Counters)[];

/** The counters of a row or a claim, alone. */
export function countersOf(from: Counters): Counters {
  return Object.fromEntries(COUNTERS.map((name) => [name, from[name]])) as unknown as Counters;
}
