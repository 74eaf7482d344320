/**
 * Says whether claims are still their worker's.
 *
 * @module
 */
import type { ClaimRef, ClaimState } from "../../broker.ts";
import { asArray, asWord } from "../reply.ts";
import { type Commands, defineScript } from "../script.ts";
import { READING } from "./prelude.ts";

const STATES: readonly ClaimState[] = ["own", "cancel", "lost", "gone"];

// KEYS[1]  the queue's list
// ARGV     per claim: id, token
// returns  a word per claim
const CHECK = defineScript([
  READING,
  `
local states = {}
for at = 1, #ARGV, 2 do
  local task = task_of(ARGV[at], 'state', 'token', 'cancel')
  local state = 'own'
  if not task[1] then
    state = 'gone'
  elseif task[1] ~= 'claimed' or task[2] ~= ARGV[at + 1] then
    state = 'lost'
  elseif task[3] then
    state = 'cancel'
  end
  states[#states + 1] = state
end
return states
`,
], { flags: "no-writes" });

/** Whether each claim is still its worker's own, and whether it is to stop. */
export async function checkClaims(
  redis: Commands,
  queue: string,
  claims: readonly ClaimRef[],
): Promise<readonly ClaimState[]> {
  const states = asArray(
    await redis.run(CHECK, {
      key: queue,
      args: claims.flatMap(({ id, token }) => [id, token]),
      doing: `check claims of '${queue}'`,
    }),
  );
  return states.map((state) => asWord(state, STATES));
}
