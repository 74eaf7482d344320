/**
 * The shared Redis as the ground of the broker contract.
 *
 * @module
 */
import { openBroker } from "../../src/broker/open_broker.ts";
import { parseBrokerUrl } from "../../src/addresses.ts";
import type { BrokerContract } from "../contract/broker_contract.ts";
import { stepClock } from "../support/clock_steps.ts";
import { sharedRedisUrl } from "../support/servers.ts";
import { auditQueue } from "./audit.ts";
import { keysOf, rawRedis } from "./raw_redis.ts";

/** The contract on the Redis that the whole run shares. */
export function redisContract(name: string): BrokerContract {
  return {
    name,
    losesTasks: true,
    async open() {
      const url = sharedRedisUrl();
      const redis = await rawRedis(url);
      return {
        url,
        broker: () => openBroker(parseBrokerUrl({ value: url, source: "the test" })),
        async loseTask(queue, id) {
          await redis.send("DEL", `{${queue}}:task:${id}`);
        },
        async loseQueue(queue) {
          const keys = await keysOf(redis, queue);
          if (keys.length > 0) await redis.send("DEL", ...keys);
        },
        stepClock: (queue, ms) => stepClock(url, queue, ms),
        audit: (queue) => auditQueue(redis, queue),
        [Symbol.asyncDispose]: () => redis[Symbol.asyncDispose](),
      };
    },
  };
}
