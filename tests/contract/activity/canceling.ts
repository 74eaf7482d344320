import { assertEquals, assertTrue } from "../../support/assert.ts";
import { type ActivityContract, Bench, newRow } from "./bench.ts";

/** Cancels, and what looks for tasks to cancel. */
export function canceling(contract: ActivityContract): void {
  const { name } = contract;

  Deno.test(`${name}: cancelRow() cancels what waits, once and for all`, async () => {
    await using bench = await Bench.make(contract);
    const id = await bench.task();
    assertEquals(await bench.store.cancelRow(id, "7"), "canceled");
    assertEquals(await bench.store.cancelRow(id, "7"), "canceled");
    assertEquals(await bench.store.cancelRow(id, "8"), { status: "canceled", token: "7" });
    assertTrue((await bench.detail(id)).endedAt !== null);
    assertEquals(await bench.log(id), ["queued: Waiting", "canceled: Canceled"]);
    assertEquals(await bench.write({ agentId: id, token: "9", status: "running" }), {
      kind: "refused",
      row: { status: "canceled", token: "7" },
    });
  });

  Deno.test(`${name}: cancelRow() tells the state of what does not wait`, async () => {
    await using bench = await Bench.make(contract);
    const id = await bench.running("5");
    assertEquals(await bench.store.cancelRow(id, "9"), { status: "running", token: "5" });
    await bench.write({ agentId: id, token: "6", status: "queued" });
    assertEquals(await bench.store.cancelRow(id, "6"), { status: "queued", token: "6" });
    assertEquals(await bench.store.cancelRow(crypto.randomUUID(), "9"), undefined);
    const record = await bench.store.createRecord({ taskName: "r" });
    assertEquals(await bench.store.cancelRow(record, "9"), { status: "queued", token: "0" });
  });

  Deno.test(`${name}: cancelRows() cancels what waits, or what lives, below its token`, async () => {
    await using bench = await Bench.make(contract);
    const waiting = await bench.task();
    const running = await bench.running("5");
    const newer = await bench.running("50");
    const ended = await bench.running("5");
    await bench.write({ agentId: ended, token: "5", status: "complete" });
    const ids = [waiting, running, newer, ended];
    assertEquals(await bench.store.cancelRows(ids, "9", { from: "queued" }), [waiting]);
    assertEquals([...await bench.store.cancelRows(ids, "10", { from: "live" })], [running]);
    assertEquals((await bench.detail(newer)).status, "running");
    assertEquals((await bench.detail(ended)).status, "complete");
    assertEquals(await bench.store.cancelRows([], "11", { from: "live" }), []);
  });

  Deno.test(`${name}: of a cancel and an end at the same moment one wins, for both`, async () => {
    await using bench = await Bench.make(contract);
    const ids = await Promise.all(Array.from({ length: 40 }, () => bench.running("5")));
    const other = bench.another();
    const ends = ids.map((agentId) =>
      bench.write({ agentId, token: "5", status: "complete", result: "1" })
    );
    const canceled = new Set(
      (await Promise.all(
        [0, 1, 2, 3].map((part) =>
          other.cancelRows(ids.filter((_, index) => index % 4 === part), "6", { from: "live" })
        ),
      )).flat(),
    );
    for (const [index, outcome] of (await Promise.all(ends)).entries()) {
      const id = ids[index] ?? "";
      const { status } = await bench.detail(id);
      assertEquals(status, canceled.has(id) ? "canceled" : "complete");
      assertEquals(
        outcome,
        canceled.has(id)
          ? { kind: "refused", row: { status: "canceled", token: "6" } }
          : { kind: "written" },
      );
    }
  });

  Deno.test(`${name}: liveTasks() pages through what has not ended of one queue`, async () => {
    await using bench = await Bench.make(contract);
    await bench.store.insertTasks(Array.from({ length: 25 }, () => newRow()));
    await bench.task({ queue: "another" });
    await bench.store.createRecord({ taskName: "r" });
    const running = await bench.running("5");
    const ended = await bench.running("5");
    await bench.write({ agentId: ended, token: "5", status: "error" });
    const seen: string[] = [];
    let after: string | undefined;
    for (;;) {
      const page = await bench.store.liveTasks({ queue: "q", limit: 10, after });
      for (const task of page) {
        assertEquals(task.status, task.agentId === running ? "running" : "queued");
        assertTrue(task.queuedAgeMs >= 0 && task.queuedAgeMs < 60_000);
      }
      seen.push(...page.map(({ agentId }) => agentId));
      if (page.length < 10) break;
      after = page.at(-1)?.agentId;
    }
    assertEquals(seen.length, 26);
    assertEquals(seen, seen.toSorted());
  });
}
