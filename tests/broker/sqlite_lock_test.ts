import { ConnectionError } from "../../src/errors.ts";
import { task } from "../contract/broker/bench.ts";
import { assertEquals, assertRejects, assertTrue } from "../support/assert.ts";
import { type Program, PROGRAM_FLAGS, runProgram } from "../support/processes.ts";
import { waitFor, within } from "../support/wait.ts";
import { claimAll, openQueue, testFolder } from "./sqlite_bench.ts";

const CALLS_TAKE_MS = 5_000;

/** Another process that holds the file's write lock until it is let go. */
async function lock(file: string): Promise<Program> {
  const flags = [...PROGRAM_FLAGS, "--no-check", "--allow-write"];
  const program = await runProgram("sqlite_lock.ts", { args: [file], flags });
  await program.waitForLine(/locked/);
  return program;
}

async function unlock(program: Program): Promise<void> {
  await program.closeStdin();
  assertEquals((await program.exit).code, 0, program.output);
}

Deno.test("a file that another process keeps locked is one passing error, and the program goes on", async () => {
  await using folder = await testFolder();
  await using opened = await openQueue(folder.file);
  const { queue } = opened;
  await using other = await lock(folder.file);
  const since = performance.now();
  let turns = 0;
  const failing = Promise.all([
    assertRejects(() => queue.enqueue([task()]), ConnectionError),
    assertRejects(() => openQueue(folder.file), ConnectionError),
  ]);
  let ended = false;
  const noted = failing.finally(() => ended = true);
  noted.catch(() => {}); // It is awaited below.
  // Asks again every 10 ms: were the thread to wait for the lock, it would not.
  await waitFor(() => ++turns && ended, { what: "both to give up", timeoutMs: 30_000 });
  const errors = await noted;
  assertTrue(performance.now() - since >= CALLS_TAKE_MS);
  assertTrue(turns > 10, `the event loop turned ${turns} times in 5 s`);
  assertEquals(errors.map(({ retryable }) => retryable), [true, true]);
  assertEquals(errors.map(({ message }) => message), [
    `Cannot enqueue into 'jobs' at sqlite:${folder.file}: another process has it locked (database is locked)`,
    `Cannot open the broker at sqlite:${folder.file}: another process has it locked (database is locked)`,
  ]);
  // Reading needs no lock, and what failed is not tried on behind the caller's back.
  assertEquals((await queue.depth()).waiting, 0);
  await unlock(other);
  const one = task();
  assertEquals(await queue.enqueue([one]), ["accepted"]);
  assertEquals(await claimAll(queue), [one.id]);
});

Deno.test("who waits for a lock gets it when it is free, in the order of the calls", async () => {
  await using folder = await testFolder();
  await using opened = await openQueue(folder.file);
  const { queue } = opened;
  await using other = await lock(folder.file);
  const tasks = Array.from({ length: 5 }, () => task());
  const calls = tasks.map((each) => queue.enqueue([each]));
  await unlock(other);
  assertEquals((await Promise.all(calls)).flat(), tasks.map(() => "accepted" as const));
  assertEquals(await claimAll(queue), tasks.map(({ id }) => id));
});

Deno.test("a connection that is closed while it waits for a lock ends its calls within a second or two", async () => {
  await using folder = await testFolder();
  const opened = await openQueue(folder.file);
  await using other = await lock(folder.file);
  const failing = assertRejects(() => opened.queue.enqueue([task()]), ConnectionError);
  await within(Promise.resolve(opened[Symbol.asyncDispose]()), {
    what: "the connection to close",
    timeoutMs: CALLS_TAKE_MS - 1_000,
  });
  await failing;
  await unlock(other);
});
