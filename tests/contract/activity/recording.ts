import { ActivityOwnedError, AgentexecError, TaskConflictError } from "../../../src/errors.ts";
import { assertEquals, assertRejects, assertTrue } from "../../support/assert.ts";
import { type ActivityContract, Bench } from "./bench.ts";

/** Records of the program's own. */
export function recording(contract: ActivityContract): void {
  const { name } = contract;

  Deno.test(`${name}: a record is made, brought on and completed`, async () => {
    await using bench = await Bench.make(contract);
    const id = await bench.store.createRecord({
      taskName: "import",
      message: "Soon",
      metadata: '{"org":"o-1"}',
    });
    const made = await bench.detail(id);
    assertEquals(
      [made.kind, made.status, made.queue, made.message, made.startedAt],
      ["record", "queued", null, "Soon", null],
    );
    assertEquals(made.metadata, { org: "o-1" });
    await bench.store.updateRecord(id, { message: "Half", percentage: 50 });
    await bench.store.updateRecord(id, { message: "More" });
    const running = await bench.detail(id);
    assertEquals([running.status, running.percentage, running.message], ["running", 50, "More"]);
    await bench.store.completeRecord(id);
    const ended = await bench.detail(id);
    assertEquals([ended.status, ended.percentage, ended.message], ["complete", 100, "Completed"]);
    assertTrue(ended.endedAt !== null && ended.startedAt !== null);
    assertEquals(await bench.log(id), [
      ...["queued: Soon", "running: Half", "running: More", "complete: Completed"],
    ]);
  });

  Deno.test(`${name}: a record fails with its error in the message`, async () => {
    await using bench = await Bench.make(contract);
    const id = await bench.store.createRecord({ taskName: "import" });
    await bench.store.failRecord(id, "no $& disk\0");
    const { status, message, error } = await bench.detail(id);
    assertEquals([status, message, error], [
      ...["error", "Failed: no $& disk\ufffd", "no $& disk\ufffd"],
    ]);
  });

  Deno.test(`${name}: a record that has ended stays as it is`, async () => {
    await using bench = await Bench.make(contract);
    const id = await bench.store.createRecord({ taskName: "import" });
    await bench.store.completeRecord(id, "Done");
    for (
      const call of [
        () => bench.store.updateRecord(id, { message: "m" }),
        () => bench.store.completeRecord(id),
        () => bench.store.failRecord(id, "e"),
      ]
    ) {
      const error = await assertRejects(call, AgentexecError);
      assertTrue(error.message.includes("it has ended (complete)"), error.message);
    }
    assertEquals((await bench.log(id)).length, 2);
  });

  Deno.test(`${name}: a task is no record, and an unknown id is nothing`, async () => {
    await using bench = await Bench.make(contract);
    const task = await bench.task();
    const error = await assertRejects(
      () => bench.store.updateRecord(task, { message: "m" }),
      ActivityOwnedError,
    );
    assertEquals(error.agentId, task);
    await assertRejects(() => bench.store.completeRecord(crypto.randomUUID()), RangeError);
  });

  Deno.test(`${name}: a record is nobody's to write as a task`, async () => {
    await using bench = await Bench.make(contract);
    const agentId = await bench.store.createRecord({ taskName: "import" });
    assertEquals(await bench.write({ agentId, token: "9", status: "running" }), {
      kind: "missing",
    });
  });

  Deno.test(`${name}: ten processes update one record, and no line is lost`, async () => {
    await using bench = await Bench.make(contract);
    const id = await bench.store.createRecord({ taskName: "import" });
    const stores = Array.from({ length: 10 }, () => bench.another());
    await Promise.all(
      stores.map((store, index) => store.updateRecord(id, { message: `m${index}` })),
    );
    assertEquals((await bench.log(id)).length, 11);
  });

  Deno.test(`${name}: a record may bring its id, and is then made once`, async () => {
    await using bench = await Bench.make(contract);
    const agentId = crypto.randomUUID();
    const made = { agentId, taskName: "import", message: "First" };
    assertEquals(await bench.store.createRecord(made), agentId);
    assertEquals(await bench.store.createRecord({ ...made, message: "Second" }), agentId);
    assertEquals(await bench.log(agentId), ["queued: First"]);
    const other = { agentId, taskName: "export" };
    const error = await assertRejects(() => bench.store.createRecord(other), TaskConflictError);
    assertEquals(error.agentId, agentId);
    const task = { agentId: await bench.task(), taskName: "research" };
    await assertRejects(() => bench.store.createRecord(task), TaskConflictError);
  });

  Deno.test(`${name}: a record ends at the percentage that the program says`, async () => {
    await using bench = await Bench.make(contract);
    const [whole, part, failed] = await Promise.all(
      [1, 2, 3].map(() => bench.store.createRecord({ taskName: "import" })),
    ) as [string, string, string];
    await bench.store.completeRecord(whole);
    await bench.store.completeRecord(part, "Enough", { percentage: 80 });
    await bench.store.updateRecord(failed, { message: "m", percentage: 30 });
    await bench.store.failRecord(failed, "no", { percentage: 40 });
    const ids = [whole, part, failed];
    const details = await Promise.all(ids.map((id) => bench.detail(id)));
    assertEquals(details.map(({ percentage }) => percentage), [100, 80, 40]);
    assertEquals(details[2]?.log.at(-1)?.percentage, 40);
  });
}
