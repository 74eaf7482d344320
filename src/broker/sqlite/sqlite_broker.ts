/**
 * The broker in an SQLite file, for the processes of one machine.
 *
 * @module
 */
import { wallClockMs } from "../../clock.ts";
import type { Broker } from "../broker.ts";
import { Changes } from "./changes.ts";
import { DatabaseFile } from "./database_file.ts";
import { Subscriptions } from "./messages.ts";
import { SqliteQueue } from "./sqlite_queue.ts";

/** What {@linkcode SqliteBroker} may be told. */
export interface SqliteBrokerOptions {
  /**
   * The time, in milliseconds of the Unix epoch, for tests that drive it.
   *
   * @default {the system's clock, which all processes of a machine share}
   */
  readonly now?: () => number;
}

/** A connection of one process to the file. */
export class SqliteBroker implements Broker {
  readonly address: string;
  readonly #file: DatabaseFile;
  readonly #changes: Changes;
  readonly #subscriptions: Subscriptions;
  readonly #queues = new Map<string, SqliteQueue>();

  /** Opens nothing. The path `:memory:` is a broker for this process alone. */
  constructor(path: string, options: SqliteBrokerOptions = {}) {
    this.#file = new DatabaseFile(path, options.now ?? wallClockMs);
    this.#changes = new Changes(this.#file, path);
    this.#subscriptions = new Subscriptions(this.#file, this.#changes);
    this.address = this.#file.address;
  }

  async connect(): Promise<void> {
    await this.#file.open();
  }

  queue(name: string): SqliteQueue {
    let queue = this.#queues.get(name);
    if (queue === undefined) {
      const [file, changes, subscriptions] = [this.#file, this.#changes, this.#subscriptions];
      queue = new SqliteQueue(name, { file, changes, subscriptions });
      this.#queues.set(name, queue);
    }
    return queue;
  }

  async close(): Promise<void> {
    for (const queue of this.#queues.values()) queue.close();
    await this.#changes.close();
    await this.#file.close();
  }
}
