/**
 * Makes sure that a queue is ours.
 *
 * @module
 */
import { PROTOCOL } from "../../protocol.ts";
import { IncompatibleError } from "../../../errors.ts";
import { asArray, asString } from "../reply.ts";
import { type Commands, defineScript } from "../script.ts";
import { READING } from "./prelude.ts";

/**
 * Lua that answers `{word, detail}` and ends the script where the queue is not ours; else `broker_id` is
 * set, and where there was none (a new queue, or Redis lost its data) `given_id` is written.
 */
export const ENSURE_OURS = `
local function ensure_ours(given_id, protocol)
  local kind = type_of(Q)
  local broker_id = redis.call('HGET', BROKER, 'id')
  if kind ~= 'none' and (kind ~= 'list' or not broker_id) then return nil, {'foreign', kind} end
  if not broker_id then
    broker_id = given_id
    redis.call('HSET', BROKER, 'id', broker_id, 'protocol', protocol, 'oldest', 1)
    return broker_id
  end
  local oldest = tonumber(redis.call('HGET', BROKER, 'oldest') or '1')
  if oldest > protocol then return nil, {'newer', whole(oldest)} end
  if tonumber(redis.call('HGET', BROKER, 'protocol') or '0') < protocol then
    redis.call('HSET', BROKER, 'protocol', protocol)
  end
  return broker_id
end
`;

// KEYS[1]  the queue's list
// ARGV[1]  a new id, used where the queue has none
// ARGV[2]  our protocol
// returns  {'ours', broker id} | {'foreign', type of the list's key} | {'newer', oldest protocol}
const OPEN = defineScript([
  READING,
  ENSURE_OURS,
  `
local broker_id, refusal = ensure_ours(ARGV[1], tonumber(ARGV[2]))
return refusal or {'ours', broker_id}
`,
], { flags: "allow-oom" });

/** The error for a queue that is not ours, from the script's answer. */
export function notOurs(queue: string, word: string, detail: string): IncompatibleError {
  if (word === "foreign") {
    return new IncompatibleError(
      `Cannot use the queue '${queue}': Redis has a ${detail} of this name that another program made, choose ` +
        `another name by AGENTEXEC_QUEUE_NAME or the option 'queueName'`,
    );
  }
  return new IncompatibleError(
    `Cannot use the queue '${queue}': it needs protocol ${detail} or later, this version of the library speaks ` +
      `${PROTOCOL}, update it`,
  );
}

/** Opens the queue; the id that it has, else `newId`, which it is given now. */
export async function openQueue(redis: Commands, queue: string, newId: string): Promise<string> {
  const [word, detail] = asArray(
    await redis.run(OPEN, {
      key: queue,
      args: [newId, PROTOCOL],
      doing: `open the queue '${queue}'`,
    }),
  );
  if (word === "ours") return asString(detail);
  throw notOurs(queue, asString(word), asString(detail));
}
