/**
 * Raises what tokens are counted from.
 *
 * @module
 */
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
  // Lua counts in doubles: a larger number would stand still when one is added.
  if (!/^\d{1,16}$/.test(token) || !Number.isSafeInteger(Number(token))) {
    throw new RangeError(
      `Cannot raise the token of '${queue}': it must be a whole number up to 2^53 - 1, current value is ${
        JSON.stringify(token)
      }`,
    );
  }
  await redis.run(RAISE_TOKEN, {
    key: queue,
    args: [token],
    doing: `raise the token of '${queue}'`,
  });
}
