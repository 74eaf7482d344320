/**
 * Gives a worker tasks to run.
 *
 * @module
 */
import { CLAIM_BYTES, DUE_AT_ONCE, PROTOCOL } from "../../protocol.ts";
import type { Claim, ClaimAnswer, ClaimRequest } from "../../broker.ts";
import { asArray, asNumber, asString, type Reply } from "../reply.ts";
import { type Commands, defineScript } from "../script.ts";
import { READING, WRITING } from "./prelude.ts";

/** How many orphans one claim tells of. */
const ORPHANS_AT_ONCE = 100;
/** When an orphan is told of again that nobody settled, in milliseconds. */
const TELL_AGAIN_MS = 10_000;

const TAKE_BACK_LOST = `
-- A claim that the worker does not hold is one whose answer was lost: it would be renewed for ever.
local function take_back_lost(worker, holding)
  for _, id in ipairs(redis.call('SMEMBERS', OWNER .. worker)) do
    if not holding[id] then
      local task = task_of(id, 'state', 'owner')
      if task[1] == 'claimed' and task[2] == worker then
        put_back(id, worker, 0, 0)
      else
        drop_stray(OWNER .. worker, id)
      end
    end
  end
end
`;

const PROMOTE = `
-- Due tasks join the queue at its end, in the order in which they became due.
local function promote()
  local due = redis.call('ZRANGE', DELAYED, '-inf', whole(NOW), 'BYSCORE', 'LIMIT', 0, ${DUE_AT_ONCE}, 'WITHSCORES')
  for index = 1, #due, 2 do
    local id = due[index]
    local state = task_of(id, 'state')[1]
    if state == 'delayed' then
      unplace(id, state)
      place(id, {state = 'waiting', fields = {'since', due[index + 1]}})
    elseif state then
      drop_stray(DELAYED, id)
    else
      lose(id)
    end
  end
end

-- What older versions had to put aside and this one may run comes first: it has waited longest.
local function take_newer(protocol)
  local ids = redis.call('ZRANGE', NEWER, '-inf', protocol, 'BYSCORE', 'LIMIT', 0, ${DUE_AT_ONCE})
  for index = #ids, 1, -1 do
    local id = ids[index]
    local state = task_of(id, 'state')[1]
    if state == 'waiting' then
      unplace(id, state)
      place(id, {state = state, at_head = true})
    elseif state then
      drop_stray(NEWER, id)
    else
      lose(id)
    end
  end
end
`;

const FAIR_SHARE = `
-- The workers of supervisors that live; the one that asks is always counted.
local function living_workers()
  if redis.call('ZCOUNT', SUPERVISORS, '-inf', whole(NOW)) == 0 then return redis.call('HLEN', WORKERS) end
  local alive, count = {}, 0
  for _, supervisor in ipairs(redis.call('ZRANGE', SUPERVISORS, '(' .. whole(NOW), '+inf', 'BYSCORE')) do
    alive[supervisor] = true
  end
  for _, supervisor in ipairs(redis.call('HVALS', WORKERS)) do
    if alive[supervisor] then count = count + 1 end
  end
  return math.max(1, count)
end

local function share_of(slots)
  local waiting = redis.call('LLEN', Q) - redis.call('SCARD', tombs_of(Q))
  return math.min(slots, math.max(1, math.ceil(waiting / living_workers())))
end
`;

const TAKE = `
local bytes, full = 0, false

-- One entry of the queue: a claim, or nil where it was none to take, or one too many bytes: then \`full\` is set.
local function take(id, worker, lease, protocol)
  if not is_id(id) then
    keep_foreign(id)
    return nil
  end
  if type_of(TASK .. id) == 'none' then
    lose(id)
    return nil
  end
  local task = task_of(id, 'v', 'state', 'name', 'attempt', 'failures', 'crashes', 'lapses', 'unknowns',
    'unknownSince', 'cancel')
  local v, state, name = tonumber(task[1]), task[2], task[3]
  if not v or not state or not name then
    keep_foreign(id)
    return nil
  end
  if state ~= 'waiting' then return nil end -- A second entry of a task that has its place elsewhere.
  if v > protocol then
    place(id, {state = 'waiting', newer = v})
    return nil
  end
  if task[10] then
    -- Given back by an older version although it is to be canceled: the next sweep ends it.
    hold(id, worker, supervisor_of(worker), 0, take_token())
    return nil
  end
  -- The first one is always taken, however large it is.
  local size = redis.call('HSTRLEN', TASK .. id, 'payload')
  if bytes > 0 and bytes + size > ${CLAIM_BYTES} then
    place(id, {state = 'waiting', at_head = true})
    full = true
    return nil
  end
  bytes = bytes + size
  local token, attempt = take_token(), (tonumber(task[4]) or 0) + 1
  local fields = {'token', token, 'owner', worker, 'attempt', whole(attempt), 'since', whole(NOW)}
  place(id, {state = 'claimed', owner = worker, lease = NOW + lease, fields = fields})
  local unknown_for = task[9] and math.max(0, NOW - tonumber(task[9])) or 0
  return {
    id, token, name, redis.call('HGET', TASK .. id, 'payload') or '', attempt, task[5] or 0, task[6] or 0,
    task[7] or 0, task[8] or 0, whole(unknown_for),
  }
end
`;

const TELL_ORPHANS = `
-- The ids that lost their task and are to be told of now; and whether more of them are. One that is due much later than
-- one can be is so by another clock: the server's was set back.
local function tell_orphans()
  if redis.call('EXISTS', ORPHANS) == 0 then return {}, false end
  local again = NOW + ${TELL_AGAIN_MS}
  local told = redis.call('ZRANGE', ORPHANS, '-inf', whole(NOW), 'BYSCORE', 'LIMIT', 0, ${ORPHANS_AT_ONCE})
  if #told == 0 then
    told = redis.call('ZRANGE', ORPHANS, '(' .. whole(again), '+inf', 'BYSCORE', 'LIMIT', 0, ${ORPHANS_AT_ONCE})
  end
  for _, id in ipairs(told) do redis.call('ZADD', ORPHANS, whole(again), id) end
  return told, redis.call('ZCOUNT', ORPHANS, '-inf', whole(NOW)) > 0
end
`;

// KEYS[1]  the queue's list
// ARGV[1]  workerId   ARGV[2] free slots   ARGV[3] lease, ms   ARGV[4] our protocol
// ARGV     then the ids that the worker holds
// returns  {0} where the worker is not registered, else
//          {1, ms to the next due task or -1, {orphaned id, …}, {claim, …}}, a claim being
//          {id, token, name, payload, attempt, failures, crashes, lapses, unknowns, ms unknown}
// A task of a newer version is put aside in {Q}:newer, where a newer worker finds it. Runs when full: only
// running tasks can make Redis less full.
const CLAIM = defineScript([
  READING,
  WRITING,
  TAKE_BACK_LOST,
  PROMOTE,
  FAIR_SHARE,
  TAKE,
  TELL_ORPHANS,
  `
local worker, slots, lease, protocol = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local holding = {}
for index = 5, #ARGV do holding[ARGV[index]] = true end

if redis.call('HEXISTS', WORKERS, worker) == 0 then
  -- It may have taken the marker that was meant for another.
  if redis.call('HLEN', WORKERS) > 0 and redis.call('LLEN', Q) > 0 then wake() end
  return {0}
end
take_back_lost(worker, holding)
promote()
take_newer(protocol)

local claims, share, looked = {}, share_of(slots), 0
while #claims < share and looked < 1000 and not full do
  local id, buried = pop()
  if not id then break end
  looked = looked + 1
  if not buried then claims[#claims + 1] = take(id, worker, lease, protocol) end
end

local due = redis.call('ZRANGE', DELAYED, 0, 0, 'WITHSCORES')
local left = entries_left()
local orphans, more_orphans = tell_orphans()
if (#claims > 0 and (left > 0 or #due > 0)) or (left > 0 and looked >= 1000) or more_orphans then wake() end
return {1, due[2] and whole(math.max(0, tonumber(due[2]) - NOW)) or -1, orphans, claims}
`,
], { flags: "allow-oom" });

function toClaim(reply: Reply): Claim {
  const fields = asArray(reply);
  return {
    id: asString(fields[0]),
    token: asString(fields[1]),
    name: asString(fields[2]),
    payload: asString(fields[3]),
    attempt: asNumber(fields[4]),
    failures: asNumber(fields[5]),
    crashes: asNumber(fields[6]),
    lapses: asNumber(fields[7]),
    unknowns: asNumber(fields[8]),
    unknownForMs: asNumber(fields[9]),
  };
}

/** Takes tasks for a worker. */
export async function claimTasks(
  redis: Commands,
  queue: string,
  request: ClaimRequest,
): Promise<ClaimAnswer> {
  const { workerId, slots, holding, leaseMs } = request;
  const [registered, due, orphans, claims] = asArray(
    await redis.run(CLAIM, {
      key: queue,
      args: [workerId, slots, leaseMs, PROTOCOL, ...holding],
      doing: `claim from '${queue}'`,
    }),
  );
  if (asNumber(registered) === 0) {
    return { registered: false, claims: [], nextDueMs: null, orphans: [] };
  }
  const nextDueMs = asNumber(due);
  return {
    registered: true,
    claims: asArray(claims).map(toClaim),
    nextDueMs: nextDueMs < 0 ? null : nextDueMs,
    orphans: asArray(orphans).map(asString),
  };
}
