import { claimOne, crew, LONG_LEASE, register, task } from "../contract/broker/bench.ts";
import { assertEquals, assertTrue } from "../support/assert.ts";
import { BrokerProcess } from "../support/broker_process.ts";
import { openQueueOf, testFolder } from "./sqlite_bench.ts";

/** Whether the kernel lets who runs the tests see the system calls of a process. */
function canTrace(): boolean {
  if (Deno.build.os !== "linux") return false;
  const args = ["-o", "/dev/null", "true"];
  return new Deno.Command("strace", { args, stderr: "null" }).outputSync().success;
}

if (canTrace()) {
  Deno.test("what was enqueued, ended, released or canceled is on the disk by the time of the answer, a renewal need not be", async () => {
    await using folder = await testFolder();
    const trace = `${folder.path}/trace`;
    await using process = new BrokerProcess({
      launcher: ["strace", "-f", "-qq", "-y", "-e", "trace=fsync,fdatasync", "-o", trace],
    });
    const { queue } = await openQueueOf(process.broker(`sqlite:${folder.file}`));
    /** How often the log was synced while `body` ran. */
    const syncs = async (body: () => Promise<unknown>): Promise<number> => {
      const count = async () => (await Deno.readTextFile(trace)).split("-wal>").length;
      const before = await count();
      await body();
      return await count() - before;
    };
    const own = crew();
    const [workerId] = own.workerIds;
    await register(queue, own);
    const ids = Array.from({ length: 3 }, () => crypto.randomUUID());
    for (const id of ids) {
      assertTrue(await syncs(() => queue.enqueue([task({ id })])) > 0, "an enqueue is synced");
    }
    const ended = await claimOne(queue, workerId);
    assertTrue(await syncs(() => queue.end(ended)) > 0, "an end is synced");
    const released = await claimOne(queue, workerId);
    assertTrue(await syncs(() => queue.release(released)) > 0, "a release is synced");
    assertTrue(await syncs(() => queue.cancel(ids[2]!)) > 0, "a cancel is synced");
    const idle = await syncs(async () => {
      for (let n = 0; n < 20; n++) {
        await queue.renew({ ...own, leaseMs: LONG_LEASE });
        await queue.publish({ kind: "progress", id: ids[0]! }, "half way");
      }
    });
    assertEquals(idle, 0, "renewals and messages are not synced");
  });
}
