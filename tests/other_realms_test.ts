/**
 * Values that another realm made (`node:vm`, jsdom, a test runner's sandbox) are no `instanceof` of this one's
 * classes, and are what they are all the same.
 */
import { runInNewContext } from "node:vm";
import { Client, defineTask, Pool } from "@agentexec/core";
import { testPool } from "@agentexec/core/testing";
import { decodeValue, encodeValue } from "../src/log/values.ts";
import { resolveScope } from "../src/process/scope.ts";
import { assertEquals, assertMatch, assertRejects, assertTrue } from "./support/assert.ts";
import { recordLogs } from "./support/pools.ts";
import { onBothGrounds, openStores } from "./support/stores.ts";

/** A Date that is none of this realm's. */
function foreignDate(ms: number): Date {
  const date: Date = runInNewContext(`new Date(${ms})`);
  assertTrue(!(date instanceof Date));
  return date;
}

const DUE = Date.UTC(2040, 0);

onBothGrounds(
  "a Date of another realm is one in runAt, in since and in a context",
  async (ground) => {
    await using _ = await recordLogs();
    await using stores = await openStores(ground);
    const { brokerUrl, databaseUrl } = stores;
    await using client = new Client({ brokerUrl, databaseUrl, queueName: crypto.randomUUID() });
    await client.migrate();
    const runAt = foreignDate(DUE);
    const tasks = [
      await client.enqueue("later", { at: foreignDate(0) }, { runAt }),
      ...await client.enqueueMany(defineTask("many"), [undefined], { runAt }),
    ];
    for (const { agentId } of tasks) {
      const detail = await client.activity.detail(agentId);
      assertEquals(detail?.runAt, new Date(DUE));
    }
    const [first] = tasks;
    assertEquals((await client.activity.detail(first?.agentId ?? ""))?.context, {
      at: "1970-01-01T00:00:00.000Z",
    });
    assertEquals((await client.activity.metrics({ since: foreignDate(0) })).counts, { queued: 2 });
    assertEquals((await client.activity.metrics({ since: foreignDate(DUE) })).counts, {});
    for (const wrong of [foreignDate(NaN), new Date(NaN), "2040-01-01", 5, {}, null]) {
      for (
        const call of [
          () => client.enqueue("later", 1, { runAt: wrong as never }),
          () => client.activity.metrics({ since: wrong as never }),
        ]
      ) {
        const error = await assertRejects(call, TypeError);
        assertMatch(
          error.message,
          /^Cannot use '(runAt|since)': it must be a valid Date, current value is /,
        );
      }
    }
  },
);

Deno.test("the kit's clock and a handler's database take values of another realm", async () => {
  await using pool = new Pool({ name: "realms" });
  const keep = pool.task("keep", async ({ db }) => {
    await db.schema.createTable("note").addColumn("at", "text").addColumn("data", "blob").execute();
    const data: Uint8Array = runInNewContext("new Uint8Array([1, 2])");
    await db.insertInto("note").values({ at: foreignDate(0), data }).execute();
    const [row] = await db.selectFrom("note").selectAll().execute();
    return { at: row?.at, bytes: row?.data.length };
  });
  await using kit = testPool(pool, { clock: foreignDate(DUE) });
  assertEquals(kit.now, new Date(DUE));
  const task = await pool.enqueue(keep);
  assertEquals(await task.result(), { at: "1970-01-01T00:00:00.000Z", bytes: 2 });
});

Deno.test("a signal of another realm or of a polyfill ends a wait, and what is no signal is refused", async () => {
  await using pool = new Pool({ name: "signals" });
  const ping = pool.task("ping", () => "pong");
  await using _kit = testPool(pool);
  const task = await pool.enqueue(ping, undefined, { delay: { days: 1 } });
  const own = new AbortController();
  const { signal } = own;
  const foreign: unknown = {
    get aborted() {
      return signal.aborted;
    },
    get reason() {
      return signal.reason;
    },
    addEventListener: signal.addEventListener.bind(signal),
    removeEventListener: signal.removeEventListener.bind(signal),
  };
  const waiting = assertRejects(() => task.result({ signal: foreign as AbortSignal }), RangeError);
  own.abort(new RangeError("enough"));
  await waiting;
  await assertRejects(() => task.wait({ signal: foreign as AbortSignal }), RangeError);
  for await (const _ of task.progress({ signal: foreign as AbortSignal })) break;
  const error = await assertRejects(() => task.result({ signal: own as never }), TypeError);
  assertEquals(
    error.message,
    "Cannot use 'signal': it must be an AbortSignal, current value is an AbortController",
  );
});

Deno.test("a log line keeps Dates and Errors of another realm", () => {
  const error: Error = runInNewContext("new TypeError('no model')");
  const [at, failed] = decodeValue(
    encodeValue([foreignDate(5), error], { left: 10_000 }),
  ) as [Date, Error];
  assertEquals(at, new Date(5));
  assertEquals([failed.name, failed.message], ["TypeError", "no model"]);
});

Deno.test("a permission, an entrypoint and a config may be URLs of another realm", () => {
  const url = Object.assign(Object.create({ toString: () => "file:///data/in" }), {
    [Symbol.toStringTag]: "URL",
  });
  new Pool({ name: "foreign-url", entrypoint: url, config: url });
  for (const entry of [url, new URL("file:///data/in")]) {
    assertEquals(resolveScope({ permissions: { read: [entry] }, cwd: "/" }), {
      read: ["/data/in"],
    });
  }
});
