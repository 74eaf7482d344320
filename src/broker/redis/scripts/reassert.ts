/**
 * Takes a claim again that Redis lost.
 *
 * @module
 */
import { TASK_PROTOCOL } from "../../protocol.ts";
import type { Claim } from "../../broker.ts";
import { asNumber } from "../reply.ts";
import { type Commands, defineScript } from "../script.ts";
import { READING, WRITING } from "./prelude.ts";

// KEYS[1]  the queue's list
// ARGV[1]  id   ARGV[2] token   ARGV[3] workerId   ARGV[4] lease, ms   ARGV[5] the least protocol that it needs
// ARGV[6…] name, payload, attempt, failures, crashes, lapses
// returns  1 where it is the worker's, 0 where it has another owner or place
const REASSERT = defineScript([
  READING,
  WRITING,
  `
local id, token, worker = ARGV[1], ARGV[2], ARGV[3]
local fields = {}
if type_of(TASK .. id) ~= 'none' then
  local task = task_of(id, 'state', 'token', 'owner')
  if task[1] ~= 'claimed' or task[2] ~= token or task[3] ~= worker then return 0 end
else
  fields = {
    'v', ARGV[5], 'name', ARGV[6], 'payload', ARGV[7], 'token', token, 'owner', worker, 'since', whole(NOW),
    'priority', '0', 'attempt', ARGV[8], 'failures', ARGV[9], 'crashes', ARGV[10], 'lapses', ARGV[11],
  }
end
place(id, {state = 'claimed', owner = worker, lease = NOW + tonumber(ARGV[4]), fields = fields})
if tonumber(redis.call('GET', TOKEN) or '0') < tonumber(token) then redis.call('SET', TOKEN, token) end
return 1
`,
], { flags: "allow-oom" });

/** Takes a lost claim again, under the same token. */
export async function reassertClaim(
  redis: Commands,
  queue: string,
  { claim, workerId, leaseMs }: {
    readonly claim: Claim;
    readonly workerId: string;
    readonly leaseMs: number;
  },
): Promise<boolean> {
  const { id, token, name, payload, attempt, failures, crashes, lapses } = claim;
  const counters = [attempt, failures, crashes, lapses];
  return asNumber(
    await redis.run(REASSERT, {
      key: queue,
      args: [id, token, workerId, leaseMs, TASK_PROTOCOL, name, payload, ...counters],
      doing: `take a claim of '${queue}' again`,
    }),
  ) === 1;
}
