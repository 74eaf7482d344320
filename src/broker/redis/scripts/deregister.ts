/**
 * Strikes a supervisor off.
 *
 * @module
 */
import { type Commands, defineScript } from "../script.ts";
import { READING, WRITING } from "./prelude.ts";

/** Lua that removes a supervisor and its workers from the registry, not what they own. */
export const STRIKE_OFF = `
local function strike_off(supervisor)
  redis.call('ZREM', SUPERVISORS, supervisor)
  redis.call('HDEL', RENEWALS, supervisor)
  if redis.call('GET', MAINTAINER) == supervisor then redis.call('DEL', MAINTAINER) end
  local workers, all = {}, redis.call('HGETALL', WORKERS)
  for index = 1, #all, 2 do
    if all[index + 1] == supervisor then
      workers[#workers + 1] = all[index]
      redis.call('HDEL', WORKERS, all[index])
      redis.call('DEL', READY .. all[index])
    end
  end
  return workers
end
`;

// KEYS[1]  the queue's list
// ARGV[1]  supervisorId
// returns  1
const DEREGISTER = defineScript([
  READING,
  WRITING,
  STRIKE_OFF,
  `
strike_off(ARGV[1])
return 1
`,
], { flags: "allow-oom" });

/** Strikes a supervisor off, with all its workers. */
export async function deregister(
  redis: Commands,
  queue: string,
  supervisorId: string,
): Promise<void> {
  await redis.run(DEREGISTER, {
    key: queue,
    args: [supervisorId],
    doing: `strike the supervisor off '${queue}'`,
  });
}
