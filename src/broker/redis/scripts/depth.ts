/**
 * Counts what waits.
 *
 * @module
 */
import type { Depth } from "../../broker.ts";
import { asArray, asNumber } from "../reply.ts";
import { type Commands, defineScript } from "../script.ts";
import { READING } from "./prelude.ts";

// KEYS[1]  the queue's list
// returns  {waiting, delayed, running, ms that the next one has waited or -1, foreign entries, dropped ones}
const DEPTH = defineScript([
  READING,
  `
local due = redis.call('ZCOUNT', DELAYED, '-inf', whole(NOW))
local waiting = redis.call('LLEN', Q) - redis.call('SCARD', tombs_of(Q)) + redis.call('ZCARD', NEWER) + due
local oldest = -1
-- The head may hold entries that the next claim will pass over.
for _, id in ipairs(redis.call('LRANGE', Q, -100, -1)) do
  local task = task_of(id, 'state', 'since')
  -- The last one that is a task is the nearest to the head.
  if task[1] == 'waiting' then oldest = math.max(0, NOW - (tonumber(task[2] or '') or NOW)) end
end
if oldest < 0 and due > 0 then
  oldest = NOW - tonumber(redis.call('ZRANGE', DELAYED, 0, 0, 'WITHSCORES')[2])
end
local foreign = count_foreign()
return {
  math.max(0, waiting), redis.call('ZCARD', DELAYED) - due, redis.call('ZCARD', CLAIMS), whole(oldest),
  foreign[1], foreign[2],
}
`,
], { flags: "no-writes" });

/** How much waits. */
export async function countDepth(redis: Commands, queue: string): Promise<Depth> {
  const [waiting, delayed, running, oldest, foreign, foreignDropped] = asArray(
    await redis.run(DEPTH, { key: queue, args: [], doing: `count the queue '${queue}'` }),
  ).map(asNumber);
  return {
    waiting: asNumber(waiting),
    delayed: asNumber(delayed),
    running: asNumber(running),
    oldestMs: oldest === undefined || oldest < 0 ? null : oldest,
    diagnostics: { foreign: asNumber(foreign), foreignDropped: asNumber(foreignDropped) },
  };
}
