/**
 * Says where tasks are.
 *
 * @module
 */
import type { Whereabouts } from "../../broker.ts";
import { asArray, asWord } from "../reply.ts";
import { type Commands, defineScript } from "../script.ts";
import { READING } from "./prelude.ts";

const PLACES: readonly Whereabouts[] = ["waiting", "delayed", "claimed", "abandoned", "unknown"];

// KEYS[1]  the queue's list
// ARGV     the ids
// returns  a word per id
const WHEREABOUTS = defineScript([
  READING,
  `
local function place_of(id)
  local task = task_of(id, 'state', 'owner')
  local state = task[1]
  if state == 'delayed' then
    return redis.call('ZSCORE', DELAYED, id) and 'delayed' or 'unknown'
  end
  if state ~= 'claimed' then return state or 'unknown' end
  local lease = redis.call('ZSCORE', CLAIMS, id)
  if not lease or tonumber(lease) <= NOW then return 'abandoned' end
  -- A lapsed supervisor renews nothing, even where a last claim of its workers has some time left.
  local supervisor = redis.call('ZSCORE', SUPERVISORS, string.match(task[2], '^[^/]*'))
  if supervisor and tonumber(supervisor) <= NOW then return 'abandoned' end
  return 'claimed'
end
local places = {}
for index, id in ipairs(ARGV) do places[index] = place_of(id) end
return places
`,
], { flags: "no-writes" });

/** Where each task is, in the order asked. */
export async function findTasks(
  redis: Commands,
  queue: string,
  ids: readonly string[],
): Promise<readonly Whereabouts[]> {
  const places = asArray(
    await redis.run(WHEREABOUTS, { key: queue, args: ids, doing: `find tasks in '${queue}'` }),
  );
  return places.map((place) => asWord(place, PLACES));
}
