/**
 * The broker in Redis: one connection for commands, one that listens, and one per queue that waits, each
 * opened when it is first needed.
 *
 * @module
 */
import type { RedisAddress } from "../../addresses.ts";
import type { Contact } from "../../contact.ts";
import type { Broker, Queue, QueueOptions } from "../broker.ts";
import { Connection } from "./connection.ts";
import { RedisQueue } from "./redis_queue.ts";
import { Subscriptions } from "./subscriptions.ts";

/** What {@linkcode RedisBroker} may be told. */
export interface RedisBrokerOptions {
  /**
   * What `CLIENT LIST` shall show.
   *
   * @default {undefined} (no name)
   */
  readonly clientName?: string;
  /**
   * Told whether Redis can be reached.
   *
   * @default {undefined} (nobody is told)
   */
  readonly contact?: Contact | undefined;
}

/** A connection of one process to Redis. */
export class RedisBroker implements Broker {
  readonly address: string;
  readonly #address: RedisAddress;
  readonly #clientName: string | undefined;
  readonly #redis: Connection;
  readonly #subscriptions: Subscriptions;
  readonly #queues = new Map<string, RedisQueue>();

  /** Makes no call. */
  constructor(address: RedisAddress, options: RedisBrokerOptions = {}) {
    // Redis refuses names with blanks and control characters.
    const clientName = options.clientName?.replaceAll(/[^!-~]/g, "_");
    this.#address = address;
    this.#clientName = clientName;
    const { contact } = options;
    this.#redis = new Connection(address, { clientName, contact });
    this.#subscriptions = new Subscriptions(address, { clientName, contact });
    this.address = this.#redis.address;
  }

  /** For how long, in milliseconds, Redis has answered without a break: what sweeping hangs on. */
  get contactMs(): number {
    return this.#redis.contactMs;
  }

  async connect(): Promise<void> {
    await this.#redis.open();
  }

  queue(name: string, { callMs }: QueueOptions = {}): Queue {
    const key = `${name} ${callMs ?? ""}`;
    let queue = this.#queues.get(key);
    if (queue === undefined) {
      queue = new RedisQueue(name, {
        address: this.#address,
        clientName: this.#clientName,
        redis: callMs === undefined ? this.#redis : this.#redis.within(callMs),
        subscriptions: this.#subscriptions,
      });
      this.#queues.set(key, queue);
    }
    return queue;
  }

  async close(): Promise<void> {
    await Promise.all([
      this.#redis.close(),
      this.#subscriptions.close(),
      ...[...this.#queues.values()].map((queue) => queue.close()),
    ]);
  }
}
