/**
 * What the scripts share: the keys, the time, the token, and the door: how a task changes its place. Every
 * script that moves a task goes through these few functions, so that its hash and its place always agree.
 *
 * The fields of a task's hash: `v` (the least protocol that it needs), `name`, `payload` (bytes, never looked
 * into), `state` (`waiting`, `delayed` or `claimed`), `token`, `owner` (workerId while claimed), `since`
 * (ms since when it waits, or is claimed), `due` (ms, while delayed), `attempt`, `failures`, `crashes`, `lapses`,
 * `unknowns` and `unknownSince` (runs of claims by workers that did not know the name), `cancel` (1 where its
 * worker is to stop), `priority` (0).
 *
 * @module
 */
import { LUA_KEYS } from "../keys.ts";

/** The pattern of a lower-case UUID: Lua's have no counts. */
const ID_PATTERN = [8, 4, 4, 4, 12].map((count) => "[0-9a-f]".repeat(count)).join("%-");

/** How many foreign entries are kept: the last ones. */
const FOREIGN_LIMIT = 10_000;

/** The keys, the server's time, and functions that only read. */
export const READING = `${LUA_KEYS}
local time = redis.call('TIME')
local NOW_US = time[1] * 1000000 + time[2]
local NOW = math.floor(NOW_US / 1000)

-- Numbers of this size lose digits in Lua's own formatting.
local function whole(number) return string.format('%.0f', number) end

local function is_id(entry)
  return #entry == 36 and string.match(entry, '^${ID_PATTERN}$') ~= nil
end

-- The ids that stand in a list once and count for nothing there. To find one in the list would cost its length, so it
-- stays until a claim meets it.
local function tombs_of(list) return list == Q and PREFIX .. 'canceled' or list .. ':canceled' end

local function type_of(key) return redis.call('TYPE', key).ok end

-- The fields of a task; an empty table where there is no task under this id.
local function task_of(id, ...)
  if type_of(TASK .. id) ~= 'hash' then return {} end
  return redis.call('HMGET', TASK .. id, ...)
end

-- How many foreign entries are kept, and how many were dropped. Older versions kept them in a list.
local function count_foreign()
  local kind, count = type_of(FOREIGN), 0
  if kind == 'zset' then count = redis.call('ZCARD', FOREIGN) end
  if kind == 'list' then count = redis.call('LLEN', FOREIGN) end
  if type_of(FOREIGN_BEFORE) == 'list' then count = count + redis.call('LLEN', FOREIGN_BEFORE) end
  return {count, tonumber(redis.call('HGET', BROKER, 'foreignDropped') or '0')}
end
`;

/** Functions that write, after {@linkcode READING}. */
export const WRITING = `
local function take_token()
  local last = tonumber(redis.call('GET', TOKEN) or '0')
  local token = whole(math.max(last + 1, NOW_US))
  redis.call('SET', TOKEN, token)
  return token
end

-- Tells one idle worker that there may be something to claim. One marker is enough: whoever takes it and
-- leaves work behind puts it back.
local function wake() redis.call('ZADD', WAKE, 0, 'wake') end

-- Keeps an entry that is no task. It stands there once, however often it came.
local function keep_foreign(entry)
  local kind = type_of(FOREIGN)
  if kind ~= 'none' and kind ~= 'zset' then
    -- An older version's list, or a stranger's key: put aside at once, and moved bit by bit by the mender.
    if type_of(FOREIGN_BEFORE) == 'list' then
      redis.call('HINCRBY', BROKER, 'foreignDropped', redis.call('LLEN', FOREIGN_BEFORE))
    end
    redis.call('RENAME', FOREIGN, FOREIGN_BEFORE)
  end
  redis.call('ZADD', FOREIGN, redis.call('HINCRBY', BROKER, 'foreignSeen', 1), entry)
  local extra = redis.call('ZCARD', FOREIGN) - ${FOREIGN_LIMIT}
  if extra > 0 then
    redis.call('ZREMRANGEBYRANK', FOREIGN, 0, extra - 1)
    redis.call('HINCRBY', BROKER, 'foreignDropped', extra)
  end
end

local function supervisor_of(worker) return string.match(worker, '^[^/]*') end

-- The door: no other code puts an id into a list or a set of the queue, or takes it out.

-- Puts an id that stands nowhere into its place, and says so in its hash. \`to\` is one of
--   {state = 'waiting'}, behind all others; with at_head, before them; with newer, aside for a protocol of that number
--   {state = 'delayed', due = ms}
--   {state = 'claimed', lease = ms of its end, owner = who has it}
-- with fields, what else the hash is to say; with mode, that of ZADD. Returns how many places were added.
local function place(id, to)
  redis.call('HSET', TASK .. id, 'state', to.state, unpack(to.fields or {}))
  if to.state == 'claimed' then
    -- What a supervisor has to end stands in no set, so nobody renews it: if it is not ended, a sweep finds it.
    if string.find(to.owner, '/', 1, true) then redis.call('SADD', OWNER .. to.owner, id) end
    return redis.call('ZADD', CLAIMS, to.mode or 'CH', whole(to.lease), id)
  end
  if to.state == 'delayed' then return redis.call('ZADD', DELAYED, to.mode or 'CH', whole(to.due), id) end
  if to.newer then return redis.call('ZADD', NEWER, to.newer, id) end
  local buried = redis.call('SREM', tombs_of(Q), id)
  if to.at_head then
    redis.call('RPUSH', Q, id)
  elseif buried == 0 then
    redis.call('LPUSH', Q, id)
  end -- Else its former entry is its own again.
  return 1
end

-- Takes an id from where it stands by its hash, of which the caller has read state and owner; without a state from
-- wherever it may stand. A struck-off worker's claims are in its supervisor's set.
local function unplace(id, state, owner)
  if state == 'claimed' then
    redis.call('SREM', OWNER .. owner, id)
    redis.call('SREM', OWNER .. supervisor_of(owner), id)
  elseif state == 'waiting' and redis.call('ZREM', NEWER, id) == 0 then
    redis.call('SADD', tombs_of(Q), id)
  end
  if state ~= 'waiting' and state ~= 'delayed' then redis.call('ZREM', CLAIMS, id) end
  if state ~= 'waiting' and state ~= 'claimed' then redis.call('ZREM', DELAYED, id) end
  if not state then redis.call('ZREM', NEWER, id) end
end

-- Takes the next entry off the list, and tells whether it counts for nothing; nil if there is none.
local function pop()
  local id = redis.call('RPOP', Q)
  if id then return id, redis.call('SREM', tombs_of(Q), id) == 1 end
end

-- How many entries the list has. In an empty one none counts for nothing.
local function entries_left()
  local left = redis.call('LLEN', Q)
  if left == 0 then redis.call('DEL', tombs_of(Q)) end
  return left
end

-- Takes an entry out of a set in which it is a second one, of a task that has its place elsewhere.
local function drop_stray(set, id)
  redis.call(string.sub(set, 1, #OWNER) == OWNER and 'SREM' or 'ZREM', set, id)
end

-- Prolongs a claim.
local function keep_claim(id, lease_end) redis.call('ZADD', CLAIMS, lease_end, id) end

-- Leaves the claims of a worker to its supervisor; returns the set.
local function hand_over(worker)
  local left = OWNER .. supervisor_of(worker)
  redis.call('SUNIONSTORE', left, left, OWNER .. worker)
  redis.call('DEL', OWNER .. worker)
  return left
end

-- An id whose task is lost is told of until somebody has settled it; one with a stranger's key is no task.
local function lose(id)
  unplace(id)
  if type_of(TASK .. id) == 'none' then
    redis.call('ZADD', ORPHANS, 'NX', whole(NOW), id)
  else
    keep_foreign(id)
  end
end

-- Whether a claimed task is to be canceled.
local function is_canceled(id) return redis.call('HEXISTS', TASK .. id, 'cancel') == 1 end

-- Leaves a claim to a supervisor that has to end it, for so many ms.
local function hold(id, owner, supervisor, ms, token)
  unplace(id, 'claimed', owner)
  local fields = {'owner', supervisor}
  if token then fields = {'owner', supervisor, 'token', token} end
  place(id, {state = 'claimed', owner = supervisor, lease = NOW + ms, fields = fields})
end

-- Gives a claimed task back: at the head, from which the next claim takes, or with a delay. Nil if it is to be canceled:
-- then its claim is held for so many ms.
local function put_back(id, owner, delay, held)
  if is_canceled(id) then
    hold(id, owner, supervisor_of(owner), held)
    return nil
  end
  unplace(id, 'claimed', owner)
  local token, due = take_token(), NOW + delay
  local fields = {'token', token, 'owner', '', 'since', whole(NOW)}
  if delay > 0 then
    fields = {'token', token, 'owner', '', 'since', whole(NOW), 'due', whole(due)}
    place(id, {state = 'delayed', due = due, fields = fields})
  else
    place(id, {state = 'waiting', at_head = true, fields = fields})
  end
  wake()
  return token
end
`;
