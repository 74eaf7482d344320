/**
 * Takes claims from the dead.
 *
 * @module
 */
import {
  DEAD_AT_ONCE,
  LAPSE_LIMIT,
  LAPSED_AT_ONCE,
  LONGEST_LAPSE_DELAY_MS,
  REMEMBER_SWEPT_MS,
} from "../../protocol.ts";
import type { SweptClaim } from "../../broker.ts";
import { asArray, asNumber, asWord, type Reply } from "../reply.ts";
import { type Commands, defineScript } from "../script.ts";
import { STRIKE_OFF } from "./deregister.ts";
import type { Registration } from "../../registration_watch.ts";
import { DESCRIBE, REGISTRATION, toOwnedClaim } from "./owned.ts";
import { READING, WRITING } from "./prelude.ts";

const OUTCOMES = ["returned", "exhausted", "canceled"] as const;

// KEYS[1]  the queue's list
// ARGV[1]  supervisorId of the sweeper   ARGV[2] lease, ms, of what it has to end itself
// ARGV     then per supervisor that the sweeper holds for dead: its id, the mark that it saw last
// returns  {{claim, 'returned' | 'exhausted' | 'canceled', delay ms}, …}, a claim being as scripts/owned.ts says, under its new token
// Who has renewed itself since the sweeper looked is left alone, however late this script runs.
const SWEEP = defineScript([
  READING,
  WRITING,
  DESCRIBE,
  STRIKE_OFF,
  REGISTRATION,
  `
local sweeper, lease = ARGV[1], tonumber(ARGV[2])
local own_lease = redis.call('ZSCORE', SUPERVISORS, sweeper)
if not own_lease or tonumber(own_lease) <= NOW then return {} end

local swept = {}
local function lapse(id, owner)
  local outcome, delay = 'returned', 0
  if is_canceled(id) then
    outcome = 'canceled'
  else
    local lapses = redis.call('HINCRBY', TASK .. id, 'lapses', 1)
    redis.call('HDEL', TASK .. id, 'unknowns', 'unknownSince')
    if lapses > ${LAPSE_LIMIT} then outcome = 'exhausted' end
    if lapses > 1 then delay = math.min(${LONGEST_LAPSE_DELAY_MS}, 1000 * 2 ^ lapses) end
  end
  if outcome == 'returned' then
    put_back(id, owner, delay)
  else
    -- The sweeper's to end, for one lease.
    hold(id, owner, sweeper, lease, take_token())
    delay = 0
  end
  local task = redis.call('HMGET', TASK .. id, 'token', 'name', 'attempt', 'failures', 'crashes', 'lapses')
  swept[#swept + 1] = {
    {
      id, task[1], owner, task[2], task[3] or 0, task[4] or 0, task[5] or 0, task[6] or 0,
      outcome == 'canceled' and 1 or 0,
    },
    outcome, whole(delay),
  }
end

local function lapse_all(set, supervisor)
  for _, id in ipairs(redis.call('SMEMBERS', set)) do
    local claim = describe(id)
    if claim and supervisor_of(claim[3]) == supervisor then lapse(id, claim[3]) end
  end
  redis.call('DEL', set)
end

for at = 3, #ARGV, 2 do
  local supervisor = ARGV[at]
  local lease_end = redis.call('ZSCORE', SUPERVISORS, supervisor)
  if supervisor ~= sweeper and lease_end and registration_of(supervisor, lease_end) == ARGV[at + 1] then
    redis.call('ZADD', SWEPT, whole(NOW), supervisor)
    for _, worker in ipairs(strike_off(supervisor)) do lapse_all(OWNER .. worker, supervisor) end
    lapse_all(OWNER .. supervisor, supervisor)
  end
end
redis.call('ZREMRANGEBYSCORE', SWEPT, '-inf', whole(NOW - ${REMEMBER_SWEPT_MS}))

-- A claim of a registered supervisor is renewed, or taken together with it, and so its lease alone says nothing.
local function is_kept(id, owner)
  local supervisor = supervisor_of(owner)
  if supervisor == owner or not redis.call('ZSCORE', SUPERVISORS, supervisor) then return false end
  return redis.call('HEXISTS', WORKERS, owner) == 1 or redis.call('SISMEMBER', OWNER .. supervisor, id) == 1
end

for _, id in ipairs(redis.call('ZRANGE', CLAIMS, '-inf', whole(NOW), 'BYSCORE', 'LIMIT', 0, ${LAPSED_AT_ONCE})) do
  local claim = describe(id)
  if claim then
    if not is_kept(id, claim[3]) then lapse(id, claim[3]) end
  else
    local state = task_of(id, 'state')[1]
    if state then
      drop_stray(CLAIMS, id)
    else
      lose(id)
      wake()
    end
  end
end
return swept
`,
], { flags: "allow-oom" });

function toSweptClaim(reply: Reply): SweptClaim {
  const [claim, outcome, delayMs] = asArray(reply);
  return {
    ...toOwnedClaim(claim ?? null),
    outcome: asWord(outcome, OUTCOMES),
    delayMs: asNumber(delayMs),
  };
}

/**
 * Takes the claims of lapsed owners away, and the supervisors that the sweeper holds for dead off the registry, ten at a
 * time.
 */
export async function sweepLapsed(
  redis: Commands,
  queue: string,
  { supervisorId, leaseMs, dead }: {
    readonly supervisorId: string;
    readonly leaseMs: number;
    readonly dead: readonly Registration[];
  },
): Promise<readonly SweptClaim[]> {
  const supervisors = dead.slice(0, DEAD_AT_ONCE).flatMap(({ id, mark }) => [id, mark]);
  const swept = await redis.run(SWEEP, {
    key: queue,
    args: [supervisorId, leaseMs, ...supervisors],
    doing: `sweep '${queue}'`,
  });
  return asArray(swept).map(toSweptClaim);
}
