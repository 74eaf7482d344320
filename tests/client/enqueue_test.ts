import { sql } from "kysely";
import { z } from "zod";
import { agentIdFrom } from "../../src/client/agent_id.ts";
import { Client } from "../../src/client/client.ts";
import type { EnqueueOptions } from "../../src/client/enqueue_options.ts";
import {
  EnqueueManyError,
  IncompatibleError,
  MigrationError,
  TaskConflictError,
  ValidationError,
} from "../../src/errors.ts";
import { runAsCurrentTask } from "../../src/task/current.ts";
import type { TaskRun } from "../../src/task/context.ts";
import { defineTask } from "../../src/task/definition.ts";
import {
  assertEquals,
  assertMatch,
  assertRejects,
  assertThrows,
  assertTrue,
} from "../support/assert.ts";
import { sharedPostgres, sharedRedisUrl } from "../support/servers.ts";
import { waitFor } from "../support/wait.ts";
import { makeBench } from "./support.ts";

const research = defineTask("research", {
  context: z.object({ company: z.string(), limit: z.number().default(3) }),
  result: z.object({ summary: z.string() }),
});
const ping = defineTask("ping");
const ID = "0197A3B2-7C1D-7E2F-8A4B-5C6D7E8F9A0B";

Deno.test("enqueue() records a task and hands it to the broker, as its schema's input", async () => {
  await using bench = await makeBench();
  const { client, queue } = bench;
  const task = await client.enqueue(research, { company: "Acme" }, { metadata: { org: "o-1" } });
  assertEquals(task.taskName, "research");
  assertMatch(task.agentId, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-/);
  assertEquals(await task.status(), "queued");
  const detail = await client.activity.detail(task.agentId);
  assertEquals(detail?.context, { company: "Acme" });
  assertEquals(detail?.metadata, { org: "o-1" });
  assertEquals(detail?.queue, queue.name);
  const claim = await (await bench.worker()).claim();
  assertEquals([claim.id, claim.name, claim.payload], [
    task.agentId,
    "research",
    '{"company":"Acme"}',
  ]);
});

Deno.test("enqueue() by name checks JSON alone and goes to the client's queue", async () => {
  await using bench = await makeBench();
  const task = await bench.client.enqueue("anything", { deep: [1, null, "é"] });
  const claim = await (await bench.worker()).claim();
  assertEquals([claim.id, claim.name, claim.payload], [
    task.agentId,
    "anything",
    '{"deep":[1,null,"é"]}',
  ]);
});

Deno.test("enqueue() respects the queue that a definition names", async () => {
  await using bench = await makeBench();
  const elsewhere = `q-${crypto.randomUUID()}`;
  await bench.client.enqueue(defineTask("ping", { queue: elsewhere }));
  assertEquals((await bench.client.depth(elsewhere)).waiting, 1);
  assertEquals((await bench.client.depth()).waiting, 0);
});

Deno.test("enqueue() lets the first in be the first out", async () => {
  await using bench = await makeBench();
  const ids: string[] = [];
  for (let at = 0; at < 5; at++) ids.push((await bench.client.enqueue(ping)).agentId);
  const worker = await bench.worker();
  const claimed: string[] = [];
  for (let at = 0; at < 5; at++) claimed.push((await worker.claim()).id);
  assertEquals(claimed, ids);
});

Deno.test("enqueue() below a handler records the task that it was enqueued by", async () => {
  await using bench = await makeBench();
  const parent = await bench.client.enqueue(ping);
  const run = { agentId: parent.agentId } as TaskRun;
  const child = await runAsCurrentTask(run, () => bench.client.enqueue(ping));
  const row = await bench.store.database().selectFrom("agentexec_activity").select("parent_id")
    .where("agent_id", "=", child.agentId).executeTakeFirstOrThrow();
  assertEquals(row.parent_id, parent.agentId);
});

Deno.test("enqueue() with an id is accepted once, however often and by whomever it is called", async () => {
  await using bench = await makeBench();
  const { client } = bench;
  await using other = new Client(bench.options);
  const call = (each: Client) => each.enqueue(research, { company: "Acme" }, { agentId: ID });
  const tasks = await Promise.all([client, other, client, other].map(call));
  for (const task of tasks) assertEquals(task.agentId, ID.toLowerCase());
  assertEquals((await client.depth()).waiting, 1);
  assertEquals(await client.activity.count(), 1);
  const worker = await bench.worker();
  await worker.complete({ summary: "done" });
  assertEquals(await (await call(client)).result(), { summary: "done" });
  assertEquals(await worker.tryClaim(), undefined);
});

const conflicts: [string, (client: Client) => Promise<unknown>, string][] = [
  [
    "another context",
    (client) => client.enqueue(research, { company: "Umbrella" }, { agentId: ID }),
    "the id is that of such a task with another context",
  ],
  [
    "another task",
    (client) => client.enqueue(ping, undefined, { agentId: ID }),
    "the id is that of 'research'",
  ],
];

for (const [what, call, reason] of conflicts) {
  Deno.test(`enqueue() with the id of ${what} is a conflict and changes nothing`, async () => {
    await using bench = await makeBench();
    await bench.client.enqueue(research, { company: "Acme" }, { agentId: ID });
    const error = await assertRejects(() => call(bench.client), TaskConflictError);
    assertEquals(error.agentId, ID.toLowerCase());
    assertTrue(error.message.endsWith(reason), error.message);
    const claim = await (await bench.worker()).claim();
    assertEquals(claim.payload, '{"company":"Acme"}');
  });
}

Deno.test("enqueue() with a delay makes the task wait that long, and says when it is due", async () => {
  await using bench = await makeBench();
  const { client } = bench;
  const worker = await bench.worker();
  const soon = await client.enqueue(ping, undefined, { delay: { seconds: 2 } });
  const later = await client.enqueue(ping, undefined, { delay: { hours: 1 } });
  const now = await client.enqueue(ping, undefined, { delay: { seconds: 0 } });
  assertEquals((await client.depth()).delayed, 2);
  const due = (await client.activity.detail(later.agentId))?.runAt;
  assertTrue(due instanceof Date && due.getTime() > new Date().getTime() + 3_000_000);
  assertEquals((await client.activity.detail(now.agentId))?.runAt, null);
  assertEquals((await worker.claim()).id, now.agentId);
  assertEquals((await worker.claim()).id, soon.agentId);
  assertEquals(await worker.tryClaim(), undefined);
});

Deno.test("enqueue() with a time keeps it, and one that is past is due at once", async () => {
  await using bench = await makeBench();
  const { client } = bench;
  const runAt = new Date("2099-01-01T00:00:00Z");
  const far = await client.enqueue(ping, undefined, { runAt });
  assertEquals((await client.activity.detail(far.agentId))?.runAt, runAt);
  const past = await client.enqueue(ping, undefined, { runAt: new Date(0) });
  assertEquals((await (await bench.worker()).claim()).id, past.agentId);
  assertEquals((await client.depth()).delayed, 1);
});

Deno.test("enqueue() stores no context where the client is told so", async () => {
  await using bench = await makeBench({ storeContext: false });
  const task = await bench.client.enqueue(research, { company: "Acme" });
  assertEquals((await bench.client.activity.detail(task.agentId))?.context, null);
  assertEquals((await (await bench.worker()).claim()).payload, '{"company":"Acme"}');
});

const badOptions: [string, EnqueueOptions, RegExp][] = [
  [
    "an unknown option",
    { priority: 1 } as EnqueueOptions,
    /^Cannot enqueue: unknown option 'priority', expected one of agentId, metadata, delay, runAt$/,
  ],
  [
    "an id that is no UUID",
    { agentId: "17" },
    /^Cannot use 'agentId': it must be a UUID, current value is "17"$/,
  ],
  [
    "a delay that is a number",
    { delay: 5 as never },
    /a duration is an object, for example \{ seconds: 5 \}$/,
  ],
  [
    "a negative delay",
    { delay: { seconds: -1 } },
    /seconds must be a finite number of at least 0, current value is -1$/,
  ],
  [
    "a delay of centuries",
    { delay: { days: 1e6 } },
    /^Cannot use 'delay': it must be at most 36500 days/,
  ],
  [
    "a time that is no Date",
    { runAt: "tomorrow" as never },
    /^Cannot use 'runAt': it must be a valid Date, current value is a string$/,
  ],
  ["an invalid Date", { runAt: new Date(NaN) }, /current value is an invalid one$/],
  [
    "a delay and a time",
    { delay: {}, runAt: new Date() },
    /^Cannot use 'delay' and 'runAt' together: give one of them$/,
  ],
  [
    "metadata that is an array",
    { metadata: [] as never },
    /^Cannot use 'metadata': it must be a plain object, current value is an array$/,
  ],
  ["metadata with a NUL", { metadata: { note: "a\0" } }, /NUL/],
];

for (const [what, options, message] of badOptions) {
  Deno.test(`enqueue() refuses ${what} before anything is sent`, async () => {
    // Nobody listens there: whatever asked a store would fail for that.
    await using client = new Client({
      brokerUrl: "redis://127.0.0.1:1",
      databaseUrl: "postgres://127.0.0.1:1/db",
    });
    const error = await assertRejects(() => client.enqueue("ping", undefined, options), Error);
    assertMatch(error.message, message);
  });
}

const badTasks: [string, string][] = [
  ["a name outside the pattern", "no spaces"],
  ["an empty name", ""],
  ["a name with a meaning of its own", "constructor"],
  ["another", "__proto__"],
  ["a name that is too long", "x".repeat(129)],
];

for (const [what, name] of badTasks) {
  Deno.test(`enqueue() and defineTask() refuse ${what}: ${name.slice(0, 12)}`, async () => {
    await using client = new Client();
    await assertRejects(() => client.enqueue(name), RangeError);
    assertThrows(() => defineTask(name), RangeError);
  });
}

Deno.test("enqueue() refuses a context of more than maxContextBytes, and takes one of just as much", async () => {
  await using bench = await makeBench({ maxContextBytes: 100 });
  await bench.client.enqueue("big", "é".repeat(49));
  const error = await assertRejects(
    () => bench.client.enqueue("big", "é".repeat(50)),
    ValidationError,
  );
  assertEquals(
    error.message,
    "Cannot enqueue task 'big': the JSON of its context is 102 bytes, more than the 100 that 'maxContextBytes' allows",
  );
  assertEquals(await bench.client.activity.count(), 1);
});

Deno.test("enqueue() takes a context of a MiB by default", async () => {
  await using bench = await makeBench();
  await bench.client.enqueue("big", "x".repeat(1024 * 1024 - 2));
  const claim = await (await bench.worker()).claim();
  assertEquals(claim.payload.length, 1024 * 1024);
  await assertRejects(
    () => bench.client.enqueue("big", "x".repeat(1024 * 1024 - 1)),
    ValidationError,
  );
});

Deno.test("enqueue() rejects with the way out where the database is not migrated", async () => {
  await using database = await sharedPostgres().freshDatabase();
  await using client = new Client({
    brokerUrl: sharedRedisUrl(),
    databaseUrl: database.url,
    queueName: `q-${crypto.randomUUID()}`,
  });
  await assertRejects(() => client.enqueue("ping"), MigrationError);
  await client.migrate();
  await client.enqueue("ping");
});

Deno.test("enqueue() refuses a queue that holds another program's list", async () => {
  await using bench = await makeBench();
  const { createClient } = await import("@redis/client");
  const redis = await createClient({ url: sharedRedisUrl() }).connect();
  const queueName = `q-${crypto.randomUUID()}`;
  try {
    await redis.lPush(queueName, '{"task":"theirs"}');
    await using client = new Client({ ...bench.options, queueName });
    const error = await assertRejects(() => client.enqueue("ping"), IncompatibleError);
    assertMatch(error.message, /AGENTEXEC_QUEUE_NAME/);
    assertEquals(await redis.lRange(queueName, 0, -1), ['{"task":"theirs"}']);
  } finally {
    await redis.close();
  }
});

Deno.test("enqueueMany() puts tasks in, in the order of the contexts", async () => {
  await using bench = await makeBench();
  const contexts = Array.from({ length: 2_345 }, (_, at) => ({ company: `c-${at}` }));
  const tasks = await bench.client.enqueueMany(research, contexts, { metadata: { batch: 7 } });
  assertEquals(new Set(tasks.map((task) => task.agentId)).size, 2_345);
  assertEquals((await bench.client.depth()).waiting, 2_345);
  assertEquals(await bench.client.activity.count({ metadata: { batch: 7 } }), 2_345);
  const claim = await (await bench.worker()).claim();
  assertEquals([claim.id, claim.payload], [tasks[0]?.agentId, '{"company":"c-0"}']);
});

Deno.test("enqueueMany() of nothing puts nothing in", async () => {
  await using bench = await makeBench();
  assertEquals(await bench.client.enqueueMany(ping, []), []);
});

Deno.test("enqueueMany() checks every context before the first goes in, and names the bad one", async () => {
  await using bench = await makeBench();
  const error = await assertRejects(
    () => bench.client.enqueueMany(research, [{ company: "Acme" }, { company: 5 as never }]),
    ValidationError,
  );
  assertMatch(error.message, /: contexts\[1\]\.company is refused/);
  assertEquals(await bench.client.activity.count(), 0);
});

Deno.test("enqueueMany() with ids is accepted once, and lists those that are taken", async () => {
  await using bench = await makeBench();
  const { client } = bench;
  const ids = Array.from({ length: 3 }, () => crypto.randomUUID());
  const contexts = [{ company: "a" }, { company: "b" }, { company: "c" }];
  await client.enqueueMany(research, contexts, { agentIds: ids });
  await client.enqueueMany(research, contexts, { agentIds: ids });
  assertEquals((await client.depth()).waiting, 3);
  const others = [{ company: "a" }, { company: "x" }, { company: "c" }];
  const error = await assertRejects(
    () => client.enqueueMany(research, others, { agentIds: ids }),
    EnqueueManyError,
  );
  assertEquals(error.accepted, [ids[0] ?? "", ids[2] ?? ""]);
  assertEquals(error.refused, [ids[1] ?? ""]);
  assertTrue(error.cause instanceof TaskConflictError);
});

const badIds: [string, readonly string[], RegExp][] = [
  ["too few ids", [ID], /it must hold one id for each of the 2 contexts, current value is 1 ids$/],
  ["an id twice", [ID, ID.toLowerCase()], /each id may stand once, agentIds\[1\] is 0197a3b2/],
  ["an id that is no UUID", [ID, "x"], /^Cannot use 'agentIds\[1\]': it must be a UUID/],
];

for (const [what, agentIds, message] of badIds) {
  Deno.test(`enqueueMany() refuses ${what}`, async () => {
    await using client = new Client();
    const error = await assertRejects(
      () => client.enqueueMany(ping, [undefined, undefined], { agentIds }),
      Error,
    );
    assertMatch(error.message, message);
  });
}

Deno.test("a client works on SQLite too", async () => {
  const folder = await Deno.makeTempDir({ prefix: "agentexec-client-" });
  try {
    await using bench = await makeBench({ databaseUrl: `sqlite:${folder}/activity.db` });
    const task = await bench.client.enqueue(research, { company: "Acme" }, { agentId: ID });
    await bench.client.enqueue(research, { company: "Acme" }, { agentId: ID });
    await assertRejects(
      () => bench.client.enqueue(research, { company: "Umbrella" }, { agentId: ID }),
      TaskConflictError,
    );
    const waiting = task.result();
    await (await bench.worker()).complete({ summary: "done" });
    assertEquals(await waiting, { summary: "done" });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("a task whose copy the broker lost is put in again by enqueueing it again", async () => {
  await using bench = await makeBench();
  const { client, queue } = bench;
  const worker = await bench.worker();
  await client.enqueue(ping, undefined, { agentId: ID });
  const claim = await worker.start();
  const token = await worker.release(claim);
  await bench.store.write({ agentId: claim.id, token, status: "queued" });
  // What a Redis that lost its data looks like.
  await queue.cancel(claim.id);
  await waitFor(async () => (await queue.whereabouts([claim.id]))[0] === "unknown", {
    what: "the broker to know nothing",
  });
  await client.enqueue(ping, undefined, { agentId: ID });
  assertEquals((await worker.claim()).attempt, 2);
});

Deno.test("enqueueMany() of known ids takes about as long as the first time, whatever Postgres knows of its table", async () => {
  await using bench = await makeBench();
  const { client } = bench;
  const contexts = Array.from({ length: 2_000 }, () => undefined);
  const options = { agentIds: contexts.map((_, index) => agentIdFrom(`ping:${index}`)) };
  const begin = performance.now();
  await client.enqueueMany(ping, contexts, options);
  const first = performance.now() - begin;
  // So many ids of so small a table, in no order, and Postgres reads the whole of it.
  await sql`analyze agentexec_activity`.execute(client.db);
  const again = performance.now();
  await client.enqueueMany(ping, contexts, options);
  const second = performance.now() - again;
  assertTrue(second < 4 * first, `${Math.round(first)} ms, then ${Math.round(second)} ms`);
  assertEquals((await client.depth()).waiting, 2_000);
});
