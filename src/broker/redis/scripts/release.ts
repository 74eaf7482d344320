/**
 * Gives a claimed task back.
 *
 * @module
 */
import { CANCEL_HOLD_MS } from "../../protocol.ts";
import type { ClaimRef, ReleaseOptions, Returned } from "../../broker.ts";
import { asArray, asString, asWord } from "../reply.ts";
import { type Commands, defineScript } from "../script.ts";
import { FENCE, SETTLED } from "./end.ts";
import { READING, WRITING } from "./prelude.ts";

// KEYS[1]  the queue's list
// ARGV[1]  id   ARGV[2] token   ARGV[3] delay, ms   ARGV[4] 'crash', 'failure', 'unknown' or ''
// returns  {'done', new token} | {'canceled', the same token} | {'lost', ''} | {'gone', ''}
const RELEASE = defineScript([
  READING,
  WRITING,
  FENCE,
  `
local id, charge = ARGV[1], ARGV[4]
local refusal, owner = fence(id, ARGV[2])
if refusal then return {refusal, ''} end
if is_canceled(id) then
  put_back(id, owner, 0, ${CANCEL_HOLD_MS})
  return {'canceled', ARGV[2]}
end
if charge == 'unknown' then
  redis.call('HINCRBY', TASK .. id, 'unknowns', 1)
  redis.call('HSETNX', TASK .. id, 'unknownSince', whole(NOW))
elseif charge ~= '' then
  redis.call('HINCRBY', TASK .. id, charge == 'crash' and 'crashes' or 'failures', 1)
  -- Its handler ran, so its name is known.
  redis.call('HDEL', TASK .. id, 'unknowns', 'unknownSince')
end
return {'done', put_back(id, owner, tonumber(ARGV[3]))}
`,
], { flags: "allow-oom" });

/** Gives a task back: at the head, or with a delay, with or without a charge. */
export async function releaseClaim(
  redis: Commands,
  queue: string,
  { id, token, delayMs = 0, charge = "" }: ClaimRef & {
    readonly delayMs?: number | undefined;
    readonly charge?: ReleaseOptions["charge"] | "";
  },
): Promise<Returned> {
  const [outcome, newToken] = asArray(
    await redis.run(RELEASE, {
      key: queue,
      args: [id, token, Math.ceil(delayMs), charge],
      doing: `release a task of '${queue}'`,
    }),
  );
  return { outcome: asWord(outcome, [...SETTLED, "canceled" as const]), token: asString(newToken) };
}
