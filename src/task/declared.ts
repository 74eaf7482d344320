/**
 * The pools that the program has constructed: how a worker finds its tasks.
 *
 * @module
 */
import { ConfigError } from "../errors.ts";
import type { Database } from "./context.ts";
import type { Task } from "./definition.ts";

/** A pool as its worker sees it. */
export interface DeclaredPool {
  /** Its name. */
  readonly name: string;
  /** Its queue. */
  readonly queueName: string;
  /** How the program opens a connection to the database, where it does so itself (option `db`). */
  readonly openDatabase?: (url: string) => Database;
  /** Its tasks. */
  readonly tasks: ReadonlyMap<string, Task>;
}

const pools = new Map<string, DeclaredPool>();

/**
 * Enters a pool.
 *
 * @throws {ConfigError} If there is one of its name.
 */
export function declarePool(pool: DeclaredPool): void {
  if (pools.has(pool.name)) {
    throw new ConfigError(
      `Cannot make a second pool named '${pool.name}': give each pool a 'name' of its own (default: its queue's name)`,
    );
  }
  pools.set(pool.name, pool);
}

/** The pools constructed so far, by name. */
export function declaredPools(): ReadonlyMap<string, DeclaredPool> {
  return pools;
}

/** Takes a pool off again: its name is free. */
export function undeclarePool(pool: DeclaredPool): void {
  if (pools.get(pool.name) === pool) pools.delete(pool.name);
}
