/**
 * Says for how long no supervisor has served a queue.
 *
 * @module
 */
import { asNumber } from "../reply.ts";
import { type Commands, defineScript } from "../script.ts";
import { READING } from "./prelude.ts";

// KEYS[1]  the queue's list
// returns  ms since a supervisor last renewed itself, -1 where none ever did
const UNSERVED = defineScript([
  READING,
  `
local served = tonumber(redis.call('HGET', BROKER, 'served') or '')
return whole(served and math.max(0, NOW - served) or -1)
`,
], { flags: "no-writes" });

/** For how long no supervisor has renewed itself; null where none ever did. */
export async function readUnserved(redis: Commands, queue: string): Promise<number | null> {
  const ms = asNumber(
    await redis.run(UNSERVED, { key: queue, args: [], doing: `look at the queue '${queue}'` }),
  );
  return ms < 0 ? null : ms;
}
