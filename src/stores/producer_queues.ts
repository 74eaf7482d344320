/**
 * The queues of a producer over one set of connections: each is opened once, and known to be ours then.
 *
 * @module
 */
import { type BrokerAddress, showBroker } from "../addresses.ts";
import type { Broker, ProducerQueue } from "../broker/broker.ts";
import { withDeadline } from "../clock.ts";
import { ConnectionError } from "../errors.ts";
import type { Lazy } from "./lazy.ts";

/**
 * How long a producer waits for the broker. What it does with the database beside it fits into the rest of the 2 s in
 * which a call fails.
 */
const PRODUCER_CALL_MS = 1_400;

/** What queues are opened by. */
export interface ProducerQueuesParts {
  /** The broker. */
  readonly broker: Lazy<Broker>;
  /** Asked before each opening: where the broker is, or undefined if it is a test kit's. */
  readonly address: () => BrokerAddress | undefined;
  /** Makes of an error one that says more. */
  readonly explained: (error: unknown) => Promise<unknown>;
}

/** A queue that is open. */
export interface OpenQueue {
  /** The queue. */
  readonly queue: ProducerQueue;
  /** The id of the broker that holds it. */
  readonly brokerId: string;
}

/** The queues, by their names. */
export class ProducerQueues {
  readonly #parts: ProducerQueuesParts;
  readonly #open = new Map<string, Promise<OpenQueue>>();

  /** Opens nothing yet. */
  constructor(parts: ProducerQueuesParts) {
    this.#parts = parts;
  }

  /**
   * Opens a queue, if it is not open.
   *
   * @throws {ConnectionError} If the broker cannot be reached within 2 s.
   * @throws {IncompatibleError} If the queue is another program's.
   */
  get(name: string): Promise<OpenQueue> {
    const known = this.#open.get(name);
    if (known !== undefined) return known;
    const opening = this.#openNew(name);
    this.#open.set(name, opening);
    // The next call tries again.
    opening.catch(() => this.#open.get(name) === opening && this.#open.delete(name));
    return opening;
  }

  /** Asks for the broker's id again: one that lost its data has another. If it is away, the one that it had. */
  async brokerIdNow(name: string): Promise<string> {
    const { queue, brokerId: former } = await this.get(name);
    let brokerId = former;
    try {
      brokerId = await queue.open();
    } catch (error) {
      if (!(error instanceof ConnectionError)) throw error;
    }
    this.#open.set(name, Promise.resolve({ queue, brokerId }));
    return brokerId;
  }

  async #openNew(name: string): Promise<OpenQueue> {
    // Before anything begins: an address that is missing is the caller's error, and nobody's else.
    const address = this.#parts.address();
    const opening = this.#openOn(name);
    // A broker in a file says by itself who keeps it waiting.
    if (address === undefined || address.kind === "sqlite") return await opening;
    const explained = opening.catch(async (error) => {
      throw await this.#parts.explained(error);
    });
    return await withDeadline(explained, {
      ms: PRODUCER_CALL_MS,
      error: () =>
        new ConnectionError(
          `Cannot open the queue '${name}' at ${
            showBroker(address)
          }: no answer within ${PRODUCER_CALL_MS} ms`,
          { retryable: true },
        ),
    });
  }

  async #openOn(name: string): Promise<OpenQueue> {
    const broker = await this.#parts.broker.get();
    const queue = broker.queue(name, { callMs: PRODUCER_CALL_MS });
    return { queue, brokerId: await queue.open() };
  }
}
