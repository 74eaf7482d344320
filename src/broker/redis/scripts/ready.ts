/**
 * Keeps what a worker says when it is ready.
 *
 * @module
 */
import { READY_MS } from "../../protocol.ts";
import { type Commands, defineScript } from "../script.ts";
import { READING } from "./prelude.ts";

// KEYS[1]  the queue's list
// ARGV[1]  workerId   ARGV[2] message   ARGV[3] ms to keep it
// returns  1
const READY = defineScript([
  READING,
  `
redis.call('SET', READY .. ARGV[1], ARGV[2], 'PX', ARGV[3])
return 1
`,
], { flags: "allow-oom" });

/** Says that a worker runs. */
export async function sayReady(
  redis: Commands,
  queue: string,
  { workerId, message }: { readonly workerId: string; readonly message: string },
): Promise<void> {
  await redis.run(READY, {
    key: queue,
    args: [workerId, message, READY_MS],
    doing: `say ready on '${queue}'`,
  });
}
