/**
 * A worker's word to its supervisor: log frames, and the hint that it is ready.
 *
 * @module
 */
import type { WorkerQueue } from "../broker/broker.ts";
import { ConnectionError } from "../errors.ts";
import { type ByteOutput, writeSome } from "../log/stdout.ts";
import type { BootRecord } from "../process/handshake.ts";
import { markedLines } from "../process/marked_lines.ts";

/** Sends one message; resolves when it is on its way, rejects where it is not. */
export type Say = (message: string) => Promise<void>;

/** The way that the supervisor chose. */
export function channelOf(
  { channel, supervisorId }: Pick<BootRecord, "channel" | "supervisorId">,
  queue: WorkerQueue,
): Say {
  switch (channel.kind) {
    case "broker":
      return async (message) => {
        // Right after an outage a worker may be back before its supervisor listens again.
        if (await queue.publish({ kind: "log", supervisorId }, message)) return;
        throw new ConnectionError("Cannot reach the supervisor: it does not listen", {
          retryable: true,
        });
      };
    case "pipe":
      return pipeChannel({ output: Deno.stdout, mark: channel.mark });
    default:
      return channel satisfies never;
  }
}

/**
 * Messages among whatever else is written to `output`, one after the other. Where nobody reads, they wait and the
 * event loop goes on.
 */
export function pipeChannel({ output, mark }: { output: ByteOutput; mark: string }): Say {
  let before: Promise<unknown> = Promise.resolve();
  return (message) => {
    const written = before.then(() => writeMessage(output, markedLines(mark, message)));
    // That one failed is for its own caller; the next one tries for itself.
    before = written.catch(() => {});
    return written;
  };
}

async function writeMessage(output: ByteOutput, lines: readonly Uint8Array[]): Promise<void> {
  for (const line of lines) {
    for (let rest = line; rest.length > 0;) {
      rest = rest.subarray(await writeSome(output, rest));
    }
  }
}
