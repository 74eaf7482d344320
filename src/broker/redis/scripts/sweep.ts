/**
 * Takes claims from the dead.
 *
 * @module
 */
import { LAPSE_LIMIT, type SweptClaim } from "../../broker.ts";
import { asArray, asNumber, type Reply } from "../reply.ts";
import { type Commands, defineScript } from "../script.ts";
import { STRIKE_OFF } from "./deregister.ts";
import { DESCRIBE, toOwnedClaim } from "./owned.ts";
import { READING, WRITING } from "./prelude.ts";

/** How old the answer that shows contact may be when the script runs, in milliseconds. */
const FRESH_MS = 1_000;
const LONGEST_DELAY_MS = 300_000;
/** For how long a swept supervisor can learn of it, in milliseconds: a laptop that sleeps over night. */
const REMEMBER_MS = 7 * 86_400_000;

// KEYS[1]  the queue's list
// ARGV[1]  supervisorId of the sweeper   ARGV[2] lease, ms, of what it has to end itself
// ARGV[3]  the server's time, s, and ARGV[4] µs, that it told the sweeper just now
// returns  {{claim, exhausted 0 or 1, delay ms}, …}, a claim being as scripts/owned.ts says, under its new token
// Where the server stood still between that answer and this script, nobody could renew: then it does nothing.
const SWEEP = defineScript([
  READING,
  WRITING,
  DESCRIBE,
  STRIKE_OFF,
  `
local sweeper, lease = ARGV[1], tonumber(ARGV[2])
local own_lease = redis.call('ZSCORE', SUPERVISORS, sweeper)
if not own_lease or tonumber(own_lease) <= NOW then return {} end
if NOW - (ARGV[3] * 1000 + ARGV[4] / 1000) > ${FRESH_MS} then return {} end

local swept = {}
local function lapse(id, owner)
  local lapses = redis.call('HINCRBY', TASK .. id, 'lapses', 1)
  redis.call('HDEL', TASK .. id, 'unknowns', 'unknownSince')
  local delay, exhausted = 0, 0
  if lapses > ${LAPSE_LIMIT} then
    -- The sweeper's to end, for one lease. It stands in no owner's set, so nobody renews it: where the
    -- sweeper does not come to end it, the next sweep finds it again.
    exhausted = 1
    unclaim(id, owner)
    redis.call('HSET', TASK .. id, 'token', take_token(), 'owner', sweeper)
    redis.call('ZADD', CLAIMS, whole(NOW + lease), id)
  else
    if lapses > 1 then delay = math.min(${LONGEST_DELAY_MS}, 1000 * 2 ^ lapses) end
    put_back(id, owner, delay)
  end
  local task = redis.call('HMGET', TASK .. id, 'token', 'name', 'attempt', 'failures', 'crashes')
  swept[#swept + 1] = {
    {id, task[1], owner, task[2], task[3] or 0, task[4] or 0, task[5] or 0, lapses}, exhausted, whole(delay),
  }
end

local function lapse_all(set, supervisor)
  for _, id in ipairs(redis.call('SMEMBERS', set)) do
    local claim = describe(id)
    if claim and supervisor_of(claim[3]) == supervisor then lapse(id, claim[3]) end
  end
  redis.call('DEL', set)
end

for _, supervisor in ipairs(redis.call('ZRANGE', SUPERVISORS, '-inf', whole(NOW), 'BYSCORE', 'LIMIT', 0, 10)) do
  redis.call('ZADD', SWEPT, whole(NOW), supervisor)
  for _, worker in ipairs(strike_off(supervisor)) do lapse_all(OWNER .. worker, supervisor) end
  lapse_all(OWNER .. supervisor, supervisor)
end
redis.call('ZREMRANGEBYSCORE', SWEPT, '-inf', whole(NOW - ${REMEMBER_MS}))

for _, id in ipairs(redis.call('ZRANGE', CLAIMS, '-inf', whole(NOW), 'BYSCORE', 'LIMIT', 0, 100)) do
  local claim = describe(id)
  if claim then
    lapse(id, claim[3])
  else
    redis.call('ZREM', CLAIMS, id)
    -- Its hash is lost: the next claim finds the bare id and reports it.
    if type_of(TASK .. id) == 'none' then
      redis.call('RPUSH', Q, id)
      wake()
    end
  end
end
return swept
`,
], { flags: "allow-oom" });

function toSweptClaim(reply: Reply): SweptClaim {
  const [claim, exhausted, delayMs] = asArray(reply);
  return {
    ...toOwnedClaim(claim ?? null),
    exhausted: asNumber(exhausted) === 1,
    delayMs: asNumber(delayMs),
  };
}

/** Asks for the server's time: `{seconds, microseconds}`, for {@linkcode sweepLapsed}. */
export async function serverTime(redis: Commands, queue: string): Promise<readonly number[]> {
  return asArray(await redis.call(["TIME"], `sweep '${queue}'`)).map(asNumber);
}

/**
 * Takes the claims of lapsed owners away, and lapsed supervisors off the registry. `time` is what the
 * server said just now.
 */
export async function sweepLapsed(
  redis: Commands,
  queue: string,
  { supervisorId, leaseMs, time }: {
    readonly supervisorId: string;
    readonly leaseMs: number;
    readonly time: readonly number[];
  },
): Promise<readonly SweptClaim[]> {
  const swept = await redis.run(SWEEP, {
    key: queue,
    args: [supervisorId, leaseMs, ...time],
    doing: `sweep '${queue}'`,
  });
  return asArray(swept).map(toSweptClaim);
}
