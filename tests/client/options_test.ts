import { agentIdFrom, defineTask, gather, Pool } from "@agentexec/core";
import { assertEquals, assertRejects, assertThrows, assertTrue } from "../support/assert.ts";
import { makeBench } from "./support.ts";

const ping = defineTask("ping");
const AN_ID = "0197a3b2-7c1d-7e2f-8a4b-5c6d7e8f9a0b";

Deno.test("every call with options refuses one that there is none of, by its name, and says which there are", async () => {
  await using bench = await makeBench();
  const { client } = bench;
  const { activity } = client;
  const task = await client.enqueue(ping);
  const record = await activity.create({ taskName: "import" });
  await using pool = new Pool({ ...bench.options, name: "options" });
  const typo = { statuss: "x" } as never;
  const filter = "status, taskName, queue, kind, metadata, errorName, agentIds, createdAfter";
  const calls: [() => unknown, string][] = [
    [() => client.enqueue(ping, undefined, typo), "agentId, metadata, delay, runAt"],
    [() => client.enqueueMany(ping, [undefined], typo), "agentIds, metadata, delay, runAt"],
    [() => client.cancelPending(typo), "expected scope"],
    [() => Promise.resolve().then(() => client.handle(ping, AN_ID, typo)), "expected metadata"],
    [() => task.result(typo), "timeout, signal"],
    [() => task.wait(typo), "timeout, signal"],
    [() => gather([task], typo), "timeout, signal"],
    [() => Promise.resolve().then(() => agentIdFrom("key", typo)), "expected namespace"],
    [() => Promise.resolve().then(() => task.progress(typo)), "expected signal"],
    [() => activity.create({ taskName: "x", ...typo as object }), "taskName, agentId, message"],
    [() => activity.update(record, "x", typo), "expected percentage"],
    [() => activity.complete(record, "x", typo), "expected percentage"],
    [() => activity.error(record, "x", typo), "expected percentage"],
    [() => activity.list(typo), `${filter}, createdBefore, limit, after, order`],
    [() => activity.detail(record, typo), "expected metadata"],
    [() => activity.count(typo), filter],
    [() => activity.countActive(typo), filter.replace("status, ", "")],
    [() => activity.metrics(typo), "expected since"],
    [() => pool.start(typo), "expected signals"],
    [() => pool.shutdown(typo), "timeout, interrupted"],
  ];
  for (const [call, allowed] of calls) {
    const error = await assertRejects(async () => await call(), TypeError);
    assertTrue(error.message.includes("unknown option 'statuss'"), error.message);
    assertTrue(error.message.includes(allowed), error.message);
  }
  assertThrows(() => defineTask("x", typo), TypeError);
  const status = { status: "running" } as never;
  await assertRejects(() => activity.countActive(status), TypeError);
  assertEquals((await activity.detail(record))?.log.length, 1);
});

Deno.test("options that are no object are refused", async () => {
  await using bench = await makeBench();
  for (const options of [null, 5, "x"] as never[]) {
    const error = await assertRejects(() => bench.client.activity.list(options), TypeError);
    assertTrue(error.message.includes("the options must be an object"), error.message);
  }
});

Deno.test("runAt has delay's limit, in both directions", async () => {
  await using bench = await makeBench();
  const { client } = bench;
  const years = (count: number) => new Date(Date.now() + count * 365 * 86_400_000);
  for (
    const runAt of [years(101), years(-101), years(9_000), new Date(8.64e15), new Date(-8.64e15)]
  ) {
    for (
      const call of [
        () => client.enqueue(ping, undefined, { runAt }),
        () => client.enqueueMany(ping, [undefined], { runAt }),
      ]
    ) {
      const error = await assertRejects(call, RangeError);
      assertTrue(error.message.includes("36500 days"), error.message);
    }
  }
  const late = await client.enqueue(ping, undefined, { runAt: years(99) });
  const { runAt } = await client.activity.detail(late.agentId) ?? {};
  assertTrue(runAt != null && runAt.getFullYear() > 2100);
  await client.enqueue(ping, undefined, { runAt: new Date(0) });
  assertEquals((await client.depth()).waiting, 1);
});
