/**
 * The options that workers need too: their settings stand in the boot record. A pool's table holds these entries among
 * its own.
 *
 * @module
 */
import { count, duration, ofType, type Settings } from "../options.ts";

/** The most bytes of a context or a result where the program says nothing: 1 MiB. */
export const STANDARD_MAX_BYTES = 1024 * 1024;

/** The most connections of one worker's handlers where the program says nothing: a server has a hundred in all. */
const STANDARD_POOL_SIZE = 10;

/** One entry for each. */
export const WORKER_OPTIONS = {
  concurrency: { read: count({ most: 10_000 }), standard: () => 1 },
  databasePoolSize: {
    read: count({ most: 1_000 }),
    standard: ({ concurrency }: { readonly concurrency: number }) =>
      Math.min(2 * concurrency, STANDARD_POOL_SIZE),
  },
  lease: { read: duration({ leastMs: 2_000 }), standard: () => 30_000, unit: "Ms" },
  maxResultBytes: { read: count({ most: 2 ** 30 }), standard: () => STANDARD_MAX_BYTES },
  storeContext: { read: ofType<boolean>("boolean"), standard: () => true },
} as const;

/** What a worker is told of them. */
export type WorkerSettings = Settings<typeof WORKER_OPTIONS>;
