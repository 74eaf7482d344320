/**
 * Gives a token.
 *
 * @module
 */
import { asString } from "../reply.ts";
import { type Commands, defineScript } from "../script.ts";
import { READING, WRITING } from "./prelude.ts";

// KEYS[1]  the queue's list
// returns  a token above all that were given
const NEXT_TOKEN = defineScript([READING, WRITING, "return take_token()"], { flags: "allow-oom" });

/** A token above all that were given. */
export async function takeToken(redis: Commands, queue: string): Promise<string> {
  return asString(
    await redis.run(NEXT_TOKEN, { key: queue, args: [], doing: `take a token of '${queue}'` }),
  );
}
