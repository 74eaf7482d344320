/**
 * Tells the operator that another program writes into the queue.
 *
 * @module
 */
import type { QueueDiagnostics } from "../broker/broker.ts";
import { monotonicMs } from "../clock.ts";
import type { LineLogger } from "../log/lifecycle.ts";

/** A few more are not worth another line before this has passed. */
const SAY_AGAIN_MS = 3_600_000;

/** Warns of foreign entries: when there are any, when they have doubled, and every hour in which more came. */
export class ForeignEntries {
  readonly #queue: string;
  readonly #logger: () => LineLogger;
  #said = 0;
  #saidAt = -Infinity;

  /** `logger` is asked at each line: what it writes to may have been configured since. */
  constructor(queue: string, logger: () => LineLogger) {
    this.#queue = queue;
    this.#logger = logger;
  }

  /** Looks at how many there are now. */
  look({ foreign, foreignDropped }: QueueDiagnostics): void {
    const count = foreign + foreignDropped;
    // Somebody put them away: the next one is news.
    if (count < this.#said) this.#said = count;
    const passedMs = monotonicMs() - this.#saidAt;
    if (count === this.#said || (count < 2 * this.#said && passedMs < SAY_AGAIN_MS)) return;
    [this.#said, this.#saidAt] = [count, monotonicMs()];
    const dropped = foreignDropped === 0 ? "" : ` (${foreignDropped} of them dropped)`;
    this.#logger().warn(
      `${count} entries of the queue '${this.#queue}' were no tasks${dropped}: another program writes into this list, ` +
        `choose another name by AGENTEXEC_QUEUE_NAME or the option 'queueName'. They are kept in the sorted set ` +
        `'{${this.#queue}}:foreign': look at them by ZRANGE, put them away by DEL`,
    );
  }
}
