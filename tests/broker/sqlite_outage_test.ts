import { ConnectionError } from "../../src/errors.ts";
import { task } from "../contract/broker/bench.ts";
import { assertEquals, assertMatch, assertRejects, assertTrue } from "../support/assert.ts";
import { BrokerProcess } from "../support/broker_process.ts";
import { auditSqlite, rawSqlite } from "./sqlite_audit.ts";
import { claimAll, fill, openQueue, openQueueOf, testFolder } from "./sqlite_bench.ts";

/** A process to which the rights of files apply, also where the tests run as root. */
function bound(): BrokerProcess {
  const launcher = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"];
  return new BrokerProcess(Deno.uid() === 0 ? { launcher } : {});
}

Deno.test("a file or folder that is read-only is refused at once, and serves again when it is not", async () => {
  await using folder = await testFolder();
  const { file, path } = folder;
  let ids: readonly string[];
  {
    await using opened = await openQueue(file);
    ids = await fill(opened.queue, 3);
  }
  const url = `sqlite:${file}`;
  const why =
    /^Cannot open the broker at sqlite:.*: it, a file beside it \(-wal, -shm\) or its folder is read-only/;
  await using reading = bound();
  await Deno.chmod(file, 0o400);
  const file_ = await assertRejects(() => openQueueOf(reading.broker(url)), ConnectionError);
  for (const end of ["-wal", "-shm"]) await Deno.remove(`${file}${end}`);
  await Deno.chmod(file, 0o600);
  await using listing = bound();
  await Deno.chmod(path, 0o500);
  const folder_ = await assertRejects(() => openQueueOf(listing.broker(url)), ConnectionError);
  await Deno.chmod(path, 0o700);
  for (const { message, retryable } of [file_, folder_]) {
    assertMatch(message, why);
    assertEquals(retryable, false);
  }
  await using writing = bound();
  const { queue } = await openQueueOf(writing.broker(url));
  assertEquals(await claimAll(queue), ids);
});

Deno.test("a file that may not grow refuses what does not fit, keeps what it took, and can be read", async () => {
  await using folder = await testFolder();
  // The signal that the limit sends would end the process: a program of the system's own has a limit of its own.
  const launcher = ["sh", "-c", `trap '' XFSZ; ulimit -f 600; exec "$@"`, "sh"];
  const ids: string[] = [];
  {
    await using limited = new BrokerProcess({ launcher });
    const { queue } = await openQueueOf(limited.broker(`sqlite:${folder.file}`));
    const error = await assertRejects(async () => {
      for (;;) ids.push(...await fill(queue, 5));
    }, ConnectionError);
    assertMatch(
      error.message,
      /^Cannot enqueue into 'jobs' at sqlite:.*: the system cannot read or write it/,
    );
    assertEquals(error.retryable, true);
    assertEquals((await queue.depth()).waiting, ids.length);
  }
  await using opened = await openQueue(folder.file);
  assertTrue(ids.length > 0);
  assertEquals(await claimAll(opened.queue), ids);
  using raw = rawSqlite(folder.file);
  auditSqlite(raw, "jobs");
});

Deno.test("a file that is deleted or replaced in use is told by each call, and whoever starts again has a new one", async () => {
  await using folder = await testFolder();
  await using opened = await openQueue(folder.file);
  const { queue } = opened;
  await fill(queue, 3);
  const assertGone = async (why: RegExp) => {
    for (const call of [() => queue.enqueue([task()]), () => queue.depth()]) {
      const error = await assertRejects(call, ConnectionError);
      assertMatch(error.message, /^Cannot .* at sqlite:.*; end every program .* start again$/);
      assertMatch(error.message, why);
      assertEquals(error.retryable, false);
    }
  };
  for (const end of ["-shm", "-wal", ""]) await Deno.remove(`${folder.file}${end}`);
  await assertGone(/the file was deleted/);
  // Nothing was made in its place by those calls.
  await assertRejects(() => Deno.stat(folder.file), Deno.errors.NotFound);
  await using later = await openQueue(folder.file);
  const ids = await fill(later.queue, 1);
  await assertGone(/another file was put in its place/);
  // Who waits just waits, and closing takes no harm.
  await queue.wait({ timeoutMs: 100, signal: new AbortController().signal });
  assertEquals(await claimAll(later.queue), ids);
});

Deno.test("a log that is deleted in use is told by each call, and what was accepted is there after the next start", async () => {
  await using folder = await testFolder();
  let ids: readonly string[];
  {
    await using opened = await openQueue(folder.file);
    const { queue } = opened;
    ids = await fill(queue, 3);
    // With the log alone, or with both: another connection would begin a log of its own.
    for (const end of ["-wal", "-shm"]) {
      await Deno.remove(`${folder.file}${end}`);
      for (const call of [() => queue.enqueue([task()]), () => queue.depth()]) {
        const error = await assertRejects(call, ConnectionError);
        assertMatch(error.message, /^Cannot .* at sqlite:.*: the file -wal beside it was deleted;/);
        assertEquals(error.retryable, false);
      }
    }
  }
  await using later = await openQueue(folder.file);
  assertEquals(await claimAll(later.queue), ids);
});

/** Whether the kernel lets who runs the tests mount a disk that only one process sees. */
function canMount(): boolean {
  if (Deno.build.os !== "linux") return false;
  return new Deno.Command("unshare", { args: ["-rm", "true"], stderr: "null" }).outputSync()
    .success;
}

if (canMount()) {
  Deno.test("a full disk refuses what does not fit alone, and all goes on when there is room", async () => {
    await using folder = await testFolder();
    const { path } = folder;
    const mount =
      `mount -t tmpfs -o size=2m tmpfs "${path}" && head -c 1200000 /dev/zero >"${path}/ballast" && exec "$@"`;
    await using process = new BrokerProcess({
      launcher: ["unshare", "-rm", "sh", "-c", mount, "sh"],
    });
    const { queue } = await openQueueOf(process.broker(`sqlite:${folder.file}`));
    const ids: string[] = [];
    const error = await assertRejects(async () => {
      for (;;) ids.push(...await fill(queue, 10));
    }, ConnectionError);
    assertMatch(
      error.message,
      /^Cannot enqueue into 'jobs' at sqlite:.*: the disk is full, make room/,
    );
    assertEquals(error.retryable, true);
    // Those that share a transaction do not share its end.
    const [large, small] = await Promise.allSettled([fill(queue, 50), queue.nextToken()]);
    assertEquals([large.status, small.status], ["rejected", "fulfilled"]);
    assertEquals((await queue.depth()).waiting, ids.length);
    const args = ["-c", `rm "/proc/${process.pid}/root${path}/ballast"`];
    assertTrue((await new Deno.Command("sh", { args }).output()).success);
    assertEquals(await claimAll(queue), ids);
    ids.push(...await fill(queue, 10));
    assertEquals(
      await queue.whereabouts(ids),
      ids.map((_, n) => n < ids.length - 10 ? "claimed" : "waiting"),
    );
  });
}
