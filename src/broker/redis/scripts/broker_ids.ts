/**
 * Tells the ids that a queue's broker has and had.
 *
 * @module
 */
import { asArray, asString } from "../reply.ts";
import { type Commands, defineScript } from "../script.ts";
import { READING } from "./prelude.ts";

// KEYS[1]  the queue's list
// returns  {id, …}
const BROKER_IDS = defineScript([
  READING,
  `
local ids = redis.call('SMEMBERS', FORMERLY)
ids[#ids + 1] = redis.call('HGET', BROKER, 'id') or nil
return ids
`,
], { flags: "no-writes" });

/** The ids of the broker. */
export async function readBrokerIds(redis: Commands, queue: string): Promise<readonly string[]> {
  return asArray(
    await redis.run(BROKER_IDS, { key: queue, args: [], doing: `look at the queue '${queue}'` }),
  ).map(asString);
}
