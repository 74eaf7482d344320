/**
 * Forgets a task that ended.
 *
 * @module
 */
import type { ClaimRef, SettleOutcome } from "../../broker.ts";
import { asWord } from "../reply.ts";
import { type Commands, defineScript } from "../script.ts";
import { READING, WRITING } from "./prelude.ts";

/** What a fenced call may find. */
export const SETTLED: readonly SettleOutcome[] = ["done", "lost", "gone"];

/** Lua that says whether a claim is the caller's: `word, owner`; the word is nil where it is. */
export const FENCE = `
local function fence(id, token)
  local task = task_of(id, 'state', 'token', 'owner')
  if not task[1] then return 'gone' end
  if task[1] ~= 'claimed' or task[2] ~= token then return 'lost' end
  return nil, task[3]
end
`;

// KEYS[1]  the queue's list
// ARGV[1]  id   ARGV[2] token
// returns  'done' | 'lost' | 'gone'
const END = defineScript([
  READING,
  WRITING,
  FENCE,
  `
local id = ARGV[1]
local refusal, owner = fence(id, ARGV[2])
if refusal then return refusal end
unplace(id, 'claimed', owner)
redis.call('DEL', TASK .. id)
redis.call('PUBLISH', ENDED .. id, 'ended')
return 'done'
`,
], { flags: "allow-oom" });

/** Forgets a task whose row is written, and says that it ended. */
export async function endClaim(
  redis: Commands,
  queue: string,
  { id, token }: ClaimRef,
): Promise<SettleOutcome> {
  return asWord(
    await redis.run(END, { key: queue, args: [id, token], doing: `end a task of '${queue}'` }),
    SETTLED,
  );
}
