/**
 * Whose a row is: several brokers may hold queues of one name for one database, and a broker that lost its data comes
 * back under another id.
 *
 * @module
 */
import type { KnownBrokers } from "../activity/brokers.ts";
import type { ActivityStore } from "../activity/store.ts";
import type { ProducerQueue } from "../broker/broker.ts";
import type { TaskStores } from "./task_stores.ts";

/** Tells the brokers of one queue apart. */
export class Brokers {
  readonly #store: ActivityStore;
  readonly #queue: ProducerQueue;
  readonly #own: ReadonlySet<string>;
  #known: KnownBrokers;

  private constructor(
    { store, queue }: TaskStores<ProducerQueue>,
    own: ReadonlySet<string>,
    known: KnownBrokers,
  ) {
    this.#store = store;
    this.#queue = queue;
    this.#own = own;
    this.#known = known;
  }

  /** Reads what is known of them. */
  static async read(stores: TaskStores<ProducerQueue>): Promise<Brokers> {
    const own = new Set(await stores.queue.brokerIds());
    return new Brokers(stores, own, await stores.store.readBrokers(stores.queue.name));
  }

  /**
   * Those of the ids that are another broker's which somebody uses: not this one's, by whichever of its ids, and none that
   * is gone.
   */
  async othersInUse(ids: readonly string[]): Promise<ReadonlySet<string>> {
    const others = new Set(ids.filter((id) => !this.#own.has(id)));
    await this.#meet(others);
    return new Set([...others].filter((id) => this.#known.used.has(id)));
  }

  /** The address of a broker, as it may be shown; undefined if it never said it. */
  addressOf(id: string): string | undefined {
    return this.#known.addresses.get(id);
  }

  /** The same without those that stood where this one does: they lost their data, and this one is what came back. */
  async elsewhere(ids: readonly string[]): Promise<ReadonlySet<string>> {
    const own = new Set([...this.#own].map((id) => this.addressOf(id)));
    const used = [...await this.othersInUse(ids)];
    return new Set(used.filter((id) => {
      const address = this.addressOf(id);
      return address === undefined || !own.has(address);
    }));
  }

  /**
   * Nobody has said anything of some brokers: a client of an older version uses them, or one that may not write the
   * table. They count as used from now on, for as long as any other.
   */
  async #meet(ids: ReadonlySet<string>): Promise<void> {
    const unknown = [...ids].filter((id) => !this.#known.all.has(id));
    if (unknown.length === 0) return;
    await this.#store.noteBrokersSeen(this.#queue.name, unknown);
    this.#known = await this.#store.readBrokers(this.#queue.name);
  }
}
