/**
 * Raises what tokens are counted from.
 *
 * @module
 */
import { checkToken } from "../../checks.ts";
import { type Commands, defineScript } from "../script.ts";
import { READING } from "./prelude.ts";

// KEYS[1]  the queue's list
// ARGV[1]  the token that all later ones shall be above
// returns  1
const RAISE_TOKEN = defineScript([
  READING,
  `
if tonumber(redis.call('GET', TOKEN) or '0') < tonumber(ARGV[1]) then
  redis.call('SET', TOKEN, ARGV[1])
end
return 1
`,
], { flags: "allow-oom" });

/** Sees to it that tokens from now on are above `token`. */
export async function raiseToken(redis: Commands, queue: string, token: string): Promise<void> {
  checkToken(queue, token);
  await redis.run(RAISE_TOKEN, {
    key: queue,
    args: [token],
    doing: `raise the token of '${queue}'`,
  });
}
