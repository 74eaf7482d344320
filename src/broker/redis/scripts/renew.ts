/**
 * A supervisor's bookkeeping of a second.
 *
 * @module
 */
import { PROTOCOL, READY_MS } from "../../protocol.ts";
import { type Renewal, SWEPT } from "../../broker.ts";
import { asArray, asNumber, asString, type Reply } from "../reply.ts";
import { type Commands, defineScript } from "../script.ts";
import type { Registration } from "../../registration_watch.ts";
import { DESCRIBE, REGISTRATION, toOwnedClaim } from "./owned.ts";
import { READING, WRITING } from "./prelude.ts";

// KEYS[1]  the queue's list
// ARGV[1]  supervisorId   ARGV[2] lease, ms   ARGV[3] the broker's id, written where Redis lost it
// ARGV[4]  our protocol   ARGV[5] ms to keep what ready workers said
// ARGV[6]  how many ids the process knows that the broker had before, then these, then the workerIds
// returns  {1} where it was swept, else
//          {0, {claim, …}, {workerId, what it said, …}, {foreign entries, dropped ones},
//          {supervisorId, mark, lease or '', 1 where it has lapsed, …}, the broker's id}
// That it was swept is written down by the sweep. Its mere absence is no proof: Redis may have lost its data.
const RENEW = defineScript([
  READING,
  WRITING,
  DESCRIBE,
  REGISTRATION,
  `
local supervisor, lease = ARGV[1], tonumber(ARGV[2])
if redis.call('ZSCORE', SWEPT, supervisor) then return {1} end
if redis.call('HEXISTS', BROKER, 'id') == 0 then
  redis.call('HSET', BROKER, 'id', ARGV[3], 'protocol', ARGV[4], 'oldest', 1)
end
-- Redis lost its data and another client came first: rows know this broker by the former ids too.
local broker_id, first_worker = redis.call('HGET', BROKER, 'id'), 7 + tonumber(ARGV[6])
if broker_id ~= ARGV[3] then redis.call('SADD', FORMERLY, ARGV[3]) end
for index = 7, first_worker - 1 do redis.call('SADD', FORMERLY, ARGV[index]) end
redis.call('SREM', FORMERLY, broker_id)

local lease_end, owned, ready, added = whole(NOW + lease), {}, {}, 0
local function renew_claims(owner)
  for _, id in ipairs(redis.call('SMEMBERS', OWNER .. owner)) do
    local claim = describe(id)
    if claim and supervisor_of(claim[3]) == supervisor then
      keep_claim(id, lease_end)
      owned[#owned + 1] = claim
    else
      drop_stray(OWNER .. owner, id)
    end
  end
end

local count = tonumber(string.match(redis.call('HGET', RENEWALS, supervisor) or '', '^%d+')) or 0
redis.call('HSET', RENEWALS, supervisor, whole(count + 1) .. ':' .. whole(lease))
redis.call('ZADD', SUPERVISORS, lease_end, supervisor)
redis.call('HSET', BROKER, 'served', whole(NOW))
for index = first_worker, #ARGV do
  local worker = ARGV[index]
  added = added + redis.call('HSET', WORKERS, worker, supervisor)
  local said = redis.call('GET', READY .. worker)
  if said then
    redis.call('PEXPIRE', READY .. worker, ARGV[5])
    ready[#ready + 1] = worker
    ready[#ready + 1] = said
  end
  renew_claims(worker)
end
renew_claims(supervisor)

-- They were refused until now, and may have taken the marker.
if added > 0 and (redis.call('LLEN', Q) > 0 or redis.call('ZCARD', DELAYED) > 0) then wake() end
local registry, registered = {}, redis.call('ZRANGE', SUPERVISORS, 0, -1, 'WITHSCORES')
for index = 1, #registered, 2 do
  local id, lease_end = registered[index], registered[index + 1]
  local mark, its_lease = registration_of(id, lease_end)
  for _, value in ipairs({id, mark, its_lease, tonumber(lease_end) <= NOW and 1 or 0}) do
    registry[#registry + 1] = value
  end
end
return {0, owned, ready, count_foreign(), registry, broker_id}
`,
], { flags: "allow-oom" });

/** The reply, and who else is registered. */
export interface Renewed {
  /** The reply to the supervisor. */
  readonly renewal: Renewal;
  /** Everybody in the registry. */
  readonly registrations: readonly Registration[];
  /** The broker's id now; undefined if the supervisor was swept. */
  readonly brokerId: string | undefined;
}

function toRegistrations(reply: Reply | undefined): readonly Registration[] {
  const values = asArray(reply).map(asString);
  const registrations: Registration[] = [];
  for (let at = 0; at < values.length; at += 4) {
    const [id = "", mark = "", lease = "", lapsed] = values.slice(at, at + 4);
    registrations.push({
      id,
      mark,
      leaseMs: lease === "" ? undefined : Number(lease),
      lapsed: lapsed === "1",
    });
  }
  return registrations;
}

/** Renews a supervisor, its workers, and the leases of what they own. */
export async function renewSupervisor(
  redis: Commands,
  queue: string,
  { supervisorId, workerIds, leaseMs, brokerId, formerIds }: {
    readonly supervisorId: string;
    readonly workerIds: readonly string[];
    readonly leaseMs: number;
    readonly brokerId: string;
    readonly formerIds: readonly string[];
  },
): Promise<Renewed> {
  const former = [formerIds.length, ...formerIds];
  const [swept, owned, ready, foreign, registry, newId] = asArray(
    await redis.run(RENEW, {
      key: queue,
      args: [supervisorId, leaseMs, brokerId, PROTOCOL, READY_MS, ...former, ...workerIds],
      doing: `renew the supervisor of '${queue}'`,
    }),
  );
  if (asNumber(swept) === 1) return { renewal: SWEPT, registrations: [], brokerId: undefined };
  const said = asArray(ready).map(asString);
  const messages = new Map<string, string>();
  for (let index = 0; index < said.length; index += 2) {
    messages.set(asString(said[index]), asString(said[index + 1]));
  }
  const [kept, dropped] = asArray(foreign);
  return {
    renewal: {
      swept: false,
      owned: asArray(owned).map(toOwnedClaim),
      ready: messages,
      diagnostics: { foreign: asNumber(kept), foreignDropped: asNumber(dropped) },
    },
    registrations: toRegistrations(registry),
    brokerId: asString(newId),
  };
}
