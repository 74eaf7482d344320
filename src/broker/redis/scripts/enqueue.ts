/**
 * Puts tasks in.
 *
 * @module
 */
import { PROTOCOL, TASK_PROTOCOL } from "../../protocol.ts";
import { IncompatibleError } from "../../../errors.ts";
import type { NewTask } from "../../broker.ts";
import { checkNewTask } from "../../checks.ts";
import { asArray, asString, asWord } from "../reply.ts";
import { type Commands, defineScript } from "../script.ts";
import { ENSURE_OURS, notOurs } from "./open.ts";
import { READING, WRITING } from "./prelude.ts";

const FIELDS = 9;

// KEYS[1]  the queue's list
// ARGV[1]  the broker's id, written where Redis lost it
// ARGV[2]  our protocol
// ARGV     then per task: id, name, payload, 'in' or 'at', ms, attempt, failures, crashes, lapses
// returns  {'done', word per task} | {'foreign', type} | {'newer', oldest protocol} | {'taken', key}
// Everything that can fail is asked before the first write: a script is not rolled back. Nothing here looks through a
// list, so that a task costs the same whatever waits: a known one whose place was lost is for the mender.
const ENQUEUE = defineScript([
  READING,
  WRITING,
  ENSURE_OURS,
  `
for at = 3, #ARGV, ${FIELDS} do
  local kind = type_of(TASK .. ARGV[at])
  if kind ~= 'none' and kind ~= 'hash' then return {'taken', TASK .. ARGV[at]} end
end
local broker_id, refusal = ensure_ours(ARGV[1], tonumber(ARGV[2]))
if refusal then return refusal end

local orphans, foreign = redis.call('EXISTS', ORPHANS) == 1, type_of(FOREIGN) == 'zset'
local words, accepted = {}, false
for at = 3, #ARGV, ${FIELDS} do
  local id = ARGV[at]
  if orphans then redis.call('ZREM', ORPHANS, id) end
  if redis.call('EXISTS', TASK .. id) == 1 then
    words[#words + 1] = 'known'
  else
    if foreign then redis.call('ZREM', FOREIGN, id) end
    local due = tonumber(ARGV[at + 4])
    if ARGV[at + 3] == 'in' then due = NOW + due end
    local fields = {
      'v', '${TASK_PROTOCOL}', 'name', ARGV[at + 1], 'payload', ARGV[at + 2], 'token', '0', 'owner', '',
      'since', whole(NOW), 'due', whole(due), 'priority', '0', 'attempt', ARGV[at + 5],
      'failures', ARGV[at + 6], 'crashes', ARGV[at + 7], 'lapses', ARGV[at + 8],
    }
    place(id, {state = due > NOW and 'delayed' or 'waiting', due = due, fields = fields})
    words[#words + 1] = 'accepted'
    accepted = true
  end
end
if accepted then wake() end
return {'done', words}
`,
]);

function argumentsOf(task: NewTask): readonly (string | number)[] {
  const { id, counters } = task;
  return [
    id,
    task.name,
    task.payload,
    task.runAtMs === undefined ? "in" : "at",
    checkNewTask(task),
    counters?.attempt ?? 0,
    counters?.failures ?? 0,
    counters?.crashes ?? 0,
    counters?.lapses ?? 0,
  ];
}

/** Puts tasks in, all or none. */
export async function enqueueTasks(
  redis: Commands,
  queue: string,
  { brokerId, tasks }: { readonly brokerId: string; readonly tasks: readonly NewTask[] },
): Promise<readonly ("accepted" | "known")[]> {
  const [word, detail] = asArray(
    await redis.run(ENQUEUE, {
      key: queue,
      args: [brokerId, PROTOCOL, ...tasks.flatMap(argumentsOf)],
      doing: `enqueue into '${queue}'`,
    }),
  );
  if (word === "done") {
    return asArray(detail).map((each) => asWord(each, ["accepted", "known"] as const));
  }
  if (word === "taken") {
    throw new IncompatibleError(
      `Cannot enqueue into '${queue}': the key '${asString(detail)}' holds no task of ours`,
    );
  }
  throw notOurs(queue, asString(word), asString(detail));
}
