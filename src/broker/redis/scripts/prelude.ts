/**
 * What the scripts share: the keys, the time, the token, and how a task changes its place. Every script
 * that moves a task goes through these few functions, so that its hash and its place always agree.
 *
 * The fields of a task's hash: `v` (protocol of whoever put it in), `name`, `payload` (bytes, never looked
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

-- Puts an id behind all others. Where it was cancelled and still stands in the list, that place is its own again: to
-- find and remove it there would cost the length of the list.
local function push(id)
  if redis.call('SREM', CANCELED, id) == 0 then redis.call('LPUSH', Q, id) end
end

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

-- Takes an id off the books of its owner. A struck-off worker's claims are in its supervisor's set.
local function unclaim(id, owner)
  redis.call('ZREM', CLAIMS, id)
  redis.call('SREM', OWNER .. owner, id)
  redis.call('SREM', OWNER .. supervisor_of(owner), id)
end

-- Whether a claimed task is to be canceled.
local function is_canceled(id) return redis.call('HEXISTS', TASK .. id, 'cancel') == 1 end

-- Leaves a claim to a supervisor that has to end it, for so many ms. It stands in no owner's set, so nobody renews it:
-- if it is not ended, a sweep finds it.
local function hold(id, owner, supervisor, ms)
  unclaim(id, owner)
  redis.call('HSET', TASK .. id, 'state', 'claimed', 'owner', supervisor)
  redis.call('ZADD', CLAIMS, whole(NOW + ms), id)
end

-- Gives a claimed task back: at the head, from which the next claim takes, or with a delay. Nil if it is to be canceled:
-- then its claim is held for so many ms.
local function put_back(id, owner, delay, held)
  if is_canceled(id) then
    hold(id, owner, supervisor_of(owner), held)
    return nil
  end
  unclaim(id, owner)
  local token = take_token()
  if delay > 0 then
    local due = whole(NOW + delay)
    redis.call('HSET', TASK .. id, 'state', 'delayed', 'token', token, 'owner', '', 'due', due, 'since', whole(NOW))
    redis.call('ZADD', DELAYED, due, id)
  else
    redis.call('HSET', TASK .. id, 'state', 'waiting', 'token', token, 'owner', '', 'since', whole(NOW))
    redis.call('RPUSH', Q, id)
  end
  wake()
  return token
end
`;
