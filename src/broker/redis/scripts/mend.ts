/**
 * Finds tasks that stand nowhere, since Redis evicted a key of the queue, and puts them into their places again: small
 * steps, each over in a moment. What they add up to is in `../mender.ts`.
 *
 * @module
 */
import { asArray, asNumber, asString } from "../reply.ts";
import { taskPrefix } from "../keys.ts";
import { type Commands, defineScript } from "../script.ts";
import { READING, WRITING } from "./prelude.ts";

/** How many keys of the database one step looks at: what takes 1 ms. */
const KEYS_AT_ONCE = 100;
/** How many entries of the queue one step reads. */
const ENTRIES_AT_ONCE = 500;
/** How many entries of an older version's list of foreign entries one step moves. */
const FOREIGN_AT_ONCE = 100;

/** A task whose hash says that it waits. */
export interface Waiting {
  /** Its id. */
  readonly id: string;
  /** Its token. */
  readonly token: string;
  /** Since when it waits, in milliseconds. */
  readonly since: string;
}

// KEYS[1]  the queue's list
// ARGV[1]  cursor   ARGV[2] pattern of the keys of tasks   ARGV[3] how many keys   ARGV[4] lease, ms
// returns  {next cursor, {id, token, since, …}} of those that say that they wait in the list
// What is delayed or claimed is mended here: whether it has its place is one question each. A claim that nobody alive
// renews gets at most a lease from now, also where the server's clock was set back.
const LOOK = defineScript([
  READING,
  WRITING,
  `
local reply = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])
local waiting = {}
local function look_at(id)
  local task = task_of(id, 'state', 'token', 'since', 'due', 'owner')
  local state, owner = task[1], task[5] or ''
  if state == 'delayed' then
    if place(id, {state = state, due = tonumber(task[4] or '') or NOW, mode = 'NX'}) == 1 then wake() end
  elseif state == 'claimed' then
    local renewed = redis.call('ZSCORE', SUPERVISORS, supervisor_of(owner))
    place(id, {
      state = state, owner = redis.call('HEXISTS', WORKERS, owner) == 1 and owner or '',
      lease = NOW + tonumber(ARGV[4]), mode = renewed and 'NX' or 'LT',
    })
  elseif state == 'waiting' and not redis.call('ZSCORE', NEWER, id) then
    for _, value in ipairs({id, task[2] or '', task[3] or ''}) do waiting[#waiting + 1] = value end
  end
end
for _, key in ipairs(reply[2]) do
  local id = string.sub(key, #TASK + 1)
  if is_id(id) then look_at(id) end
end

if type_of(FOREIGN_BEFORE) == 'list' then
  for _, entry in ipairs(redis.call('LPOP', FOREIGN_BEFORE, ${FOREIGN_AT_ONCE}) or {}) do
    -- Older versions told once of an id without its task; whether it has a row is asked again.
    local kind = is_id(entry) and type_of(TASK .. entry) or ''
    if kind == 'none' then
      redis.call('ZADD', ORPHANS, 'NX', whole(NOW), entry)
      wake()
    elseif kind ~= 'hash' then
      keep_foreign(entry)
    end
  end
elseif type_of(FOREIGN) == 'list' then
  redis.call('RENAME', FOREIGN, FOREIGN_BEFORE)
end
return {reply[1], waiting}
`,
], { flags: "allow-oom" });

/** Looks at some keys: mends what is delayed or claimed, answers with what waits. The cursor `"0"` begins and ends. */
export async function lookForTasks(
  redis: Commands,
  queue: string,
  { cursor, leaseMs }: { readonly cursor: string; readonly leaseMs: number },
): Promise<{ readonly cursor: string; readonly waiting: readonly Waiting[] }> {
  const pattern = `${taskPrefix(queue).replaceAll(/[\\[\]*?]/g, "\\$&")}*`;
  const [next, found] = asArray(
    await redis.run(LOOK, {
      key: queue,
      args: [cursor, pattern, KEYS_AT_ONCE, leaseMs],
      doing: `mend '${queue}'`,
    }),
  );
  const values = asArray(found).map(asString);
  const waiting: Waiting[] = [];
  for (let at = 0; at < values.length; at += 3) {
    const [id = "", token = "", since = ""] = values.slice(at, at + 3);
    waiting.push({ id, token, since });
  }
  return { cursor: asString(next), waiting };
}

// KEYS[1]  the queue's list
// ARGV[1]  from which entry on, 0 being the tail   ARGV[2] how many
// returns  {how many there were, {id, …}}
// What comes in meanwhile is put before these and moves them on, so that none is passed over.
const READ_ENTRIES = defineScript([
  READING,
  `
local entries = redis.call('LRANGE', Q, ARGV[1], ARGV[1] + ARGV[2] - 1)
local ids = {}
for _, entry in ipairs(entries) do
  if is_id(entry) then ids[#ids + 1] = entry end
end
return {#entries, ids}
`,
], { flags: "no-writes" });

/** Reads some entries of the queue, from its tail on; null behind the last one. */
export async function readEntries(
  redis: Commands,
  queue: string,
  from: number,
): Promise<{ readonly count: number; readonly ids: readonly string[] } | null> {
  const [count, ids] = asArray(
    await redis.run(READ_ENTRIES, {
      key: queue,
      args: [from, ENTRIES_AT_ONCE],
      doing: `mend '${queue}'`,
    }),
  );
  const entries = { count: asNumber(count), ids: asArray(ids).map(asString) };
  return entries.count === 0 ? null : entries;
}

// KEYS[1]  the queue's list
// ARGV     per task: id, token, since
// returns  how many were put at the head
// One that has changed since it was looked at has its place: every change gives it one.
const RESTORE_PLACES = defineScript([
  READING,
  WRITING,
  `
local restored = 0
for at = 1, #ARGV, 3 do
  local id = ARGV[at]
  local task = task_of(id, 'state', 'token', 'since')
  local same = task[1] == 'waiting' and (task[2] or '') == ARGV[at + 1] and (task[3] or '') == ARGV[at + 2]
  if same and not redis.call('ZSCORE', NEWER, id) then
    place(id, {state = 'waiting', at_head = true})
    restored = restored + 1
  end
end
if restored > 0 then wake() end
return restored
`,
], { flags: "allow-oom" });

/** Puts tasks that stand nowhere at the head, the last one foremost. */
export async function restorePlaces(
  redis: Commands,
  queue: string,
  tasks: readonly Waiting[],
): Promise<number> {
  return asNumber(
    await redis.run(RESTORE_PLACES, {
      key: queue,
      args: tasks.flatMap(({ id, token, since }) => [id, token, since]),
      doing: `mend '${queue}'`,
    }),
  );
}
