/**
 * Strikes a worker off.
 *
 * @module
 */
import type { OwnedClaim } from "../../broker.ts";
import { asArray } from "../reply.ts";
import { type Commands, defineScript } from "../script.ts";
import { DESCRIBE, toOwnedClaim } from "./owned.ts";
import { READING, WRITING } from "./prelude.ts";

// KEYS[1]  the queue's list
// ARGV[1]  workerId
// returns  {claim, …}
// Its claims move to its supervisor's set, from which `renew` goes on renewing them. Asked again after a lost
// answer, it answers the same, as the claims keep the worker's id.
const REMOVE_WORKER = defineScript([
  READING,
  WRITING,
  DESCRIBE,
  `
local worker = ARGV[1]
redis.call('HDEL', WORKERS, worker)
redis.call('DEL', READY .. worker)
local claims = {}
for _, id in ipairs(redis.call('SMEMBERS', hand_over(worker))) do
  local claim = describe(id)
  if claim and claim[3] == worker then claims[#claims + 1] = claim end
end
return claims
`,
], { flags: "allow-oom" });

/** Strikes a worker off and answers with the claims it had. */
export async function removeWorker(
  redis: Commands,
  queue: string,
  workerId: string,
): Promise<readonly OwnedClaim[]> {
  return asArray(
    await redis.run(REMOVE_WORKER, {
      key: queue,
      args: [workerId],
      doing: `strike a worker off '${queue}'`,
    }),
  ).map(toOwnedClaim);
}
