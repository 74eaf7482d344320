/**
 * Cancels a task.
 *
 * @module
 */
import { asWord } from "../reply.ts";
import { type Commands, defineScript } from "../script.ts";
import { READING, WRITING } from "./prelude.ts";

const WORDS = ["removed", "requested", "unknown"] as const;

// KEYS[1]  the queue's list
// ARGV[1]  the id
// returns  'removed' | 'requested' | 'unknown'
// A waiting id stays in the list until a claim meets it: finding it there would cost the length of the list.
const CANCEL = defineScript([
  READING,
  WRITING,
  `
local id = ARGV[1]
local state = task_of(id, 'state')[1]
if not state then return 'unknown' end
if state == 'claimed' then
  redis.call('HSET', TASK .. id, 'cancel', '1')
  return 'requested'
end
unplace(id, state)
redis.call('DEL', TASK .. id)
redis.call('PUBLISH', ENDED .. id, 'canceled')
return 'removed'
`,
], { flags: "allow-oom" });

/** Takes a task out where it waits, or asks its worker to stop. */
export async function cancelOrMark(
  redis: Commands,
  queue: string,
  id: string,
): Promise<"removed" | "requested" | "unknown"> {
  return asWord(
    await redis.run(CANCEL, { key: queue, args: [id], doing: `cancel a task of '${queue}'` }),
    WORDS,
  );
}
