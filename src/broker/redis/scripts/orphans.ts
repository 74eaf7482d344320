/**
 * Takes ids that lost their task off the list of those that are told of.
 *
 * @module
 */
import { type Commands, defineScript } from "../script.ts";
import { READING, WRITING } from "./prelude.ts";

// KEYS[1]  the queue's list
// ARGV[1]  'ended' or 'foreign'   ARGV then the ids
// returns  1
// One that has a task again is no foreign entry.
const SETTLE_ORPHANS = defineScript([
  READING,
  WRITING,
  `
for index = 2, #ARGV do
  local id = ARGV[index]
  redis.call('ZREM', ORPHANS, id)
  if ARGV[1] == 'foreign' and type_of(TASK .. id) == 'none' then keep_foreign(id) end
end
return 1
`,
], { flags: "allow-oom" });

/** Settles orphans: there is nothing to run, or nothing known of them. */
export async function settleOrphans(
  redis: Commands,
  queue: string,
  { ids, as }: { readonly ids: readonly string[]; readonly as: "ended" | "foreign" },
): Promise<void> {
  await redis.run(SETTLE_ORPHANS, {
    key: queue,
    args: [as, ...ids],
    doing: `settle lost tasks of '${queue}'`,
  });
}
