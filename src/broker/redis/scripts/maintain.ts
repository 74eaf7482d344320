/**
 * Says which supervisor is its queue's maintainer.
 *
 * @module
 */
import { MAINTAINER_MS } from "../../protocol.ts";
import { asNumber } from "../reply.ts";
import { type Commands, defineScript } from "../script.ts";
import { READING } from "./prelude.ts";

// KEYS[1]  the queue's list
// ARGV[1]  supervisorId   ARGV[2] ms that it is the maintainer from now on
// returns  1 where it is, else 0
// A turn that ends much later than one can is so by another clock: the server's was set back.
const MAINTAIN = defineScript([
  READING,
  `
local holder, left = redis.call('GET', MAINTAINER), redis.call('PTTL', MAINTAINER)
if holder and holder ~= ARGV[1] and left >= 0 and left <= tonumber(ARGV[2]) then return 0 end
redis.call('SET', MAINTAINER, ARGV[1], 'PX', ARGV[2])
return 1
`,
], { flags: "allow-oom" });

/** Whether this supervisor is the maintainer; it then is for {@linkcode MAINTAINER_MS}. */
export async function maintainQueue(
  redis: Commands,
  queue: string,
  supervisorId: string,
): Promise<boolean> {
  return asNumber(
    await redis.run(MAINTAIN, {
      key: queue,
      args: [supervisorId, MAINTAINER_MS],
      doing: `maintain '${queue}'`,
    }),
  ) === 1;
}
