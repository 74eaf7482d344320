import {
  defineTask,
  Pool,
  TaskCanceledError,
  TaskFailedError,
  type TaskHandle,
} from "@agentexec/core";
import { type TestPool, testPool } from "@agentexec/core/testing";
import fc from "fast-check";
import { z } from "zod";
import { assertEquals, assertRejects, assertTrue } from "../support/assert.ts";
import { within } from "../support/wait.ts";
import { makeSubject, shout } from "./support.ts";

/** How a handler waits for a child. */
const WAITS = ["result", "wait", "progress", "not at all"] as const;
/** What becomes of a task. */
const ENDS = ["complete", "error", "canceled"] as const;

/** A task, with the tasks that its handler enqueues. */
interface Tree {
  readonly wait: typeof WAITS[number];
  readonly end: typeof ENDS[number];
  /** Whether it may start a minute later only. */
  readonly delayed: boolean;
  /** In which of two pools. */
  readonly pool: 0 | 1;
  /** Whether its handler waits for all children at once, or for one after the other. */
  readonly together: boolean;
  readonly children: readonly Tree[];
}

const node = defineTask("node", { context: z.string() });
const EACH_MS = 60_000;

/** Two pools that run trees, and how often each node ran. */
function makeForest(trees: readonly Tree[]) {
  const runs = new Map<string, number>();
  const kits: TestPool[] = [];
  const pools = [0, 1].map((nth) => {
    const pool = new Pool({ name: crypto.randomUUID(), queueName: `kit${nth}` });
    pool.task(node, ({ context }) => visit(context));
    return pool;
  }) as [Pool, Pool];

  async function enqueue(path: string, tree: Tree): Promise<TaskHandle> {
    // What is canceled is not due before that.
    const delay = tree.end === "canceled" ? { days: 30 } : { minutes: tree.delayed ? 1 : 0 };
    const options = { delay };
    // The one and the other way of enqueueing.
    const task = tree.together
      ? (await pools[tree.pool].enqueueMany(node, [path], options))[0]
      : await pools[tree.pool].enqueue(node, path, options);
    assertTrue(task !== undefined);
    if (tree.end === "canceled") await task.cancel();
    return task;
  }

  async function waitFor(task: TaskHandle, tree: Tree): Promise<void> {
    const ended = seen(task, tree);
    if (tree.delayed) kits[tree.pool]?.advance({ minutes: 1 });
    await ended;
  }

  async function visit(path: string): Promise<void> {
    runs.set(path, (runs.get(path) ?? 0) + 1);
    const tree = at(trees, path);
    const children = tree.children.map((child, nth) => ({ child, path: `${path}.${nth}` }));
    if (tree.together) {
      const tasks = await Promise.all(children.map(({ child, path }) => enqueue(path, child)));
      await Promise.all(children.map(({ child }, nth) => waitFor(tasks[nth] as TaskHandle, child)));
    } else {
      for (const { child, path } of children) await waitFor(await enqueue(path, child), child);
    }
    if (tree.end === "error") throw new RangeError(path);
  }

  return { pools, kits, runs, enqueue };
}

/** Waits for a task in its way, and sees the end that it has. */
async function seen(task: TaskHandle, { wait, end }: Tree): Promise<void> {
  switch (wait) {
    case "result":
      if (end === "complete") await task.result();
      else if (end === "error") await assertRejects(() => task.result(), TaskFailedError);
      else await assertRejects(() => task.result(), TaskCanceledError);
      break;
    case "wait":
      assertEquals(await task.wait(), end);
      break;
    case "progress": {
      let last: string | undefined;
      for await (const { status } of task.progress()) last = status;
      assertEquals(last, end);
      break;
    }
  }
}

/** The node at a path such as `1.0.2`. */
function at(trees: readonly Tree[], path: string): Tree {
  const [first, ...rest] = path.split(".").map(Number);
  return rest.reduce((tree, nth) => tree.children[nth] as Tree, trees[first ?? 0] as Tree);
}

function* pathsOf(trees: readonly Tree[], above = ""): Generator<[string, Tree]> {
  for (const [nth, tree] of trees.entries()) {
    yield [`${above}${nth}`, tree];
    // Nobody runs what is canceled, and nobody enqueues its children.
    if (tree.end !== "canceled") yield* pathsOf(tree.children, `${above}${nth}.`);
  }
}

const { forest } = fc.letrec<{ forest: readonly Tree[]; tree: Tree }>((tie) => ({
  forest: fc.array(tie("tree"), { maxLength: 4, depthIdentifier: "trees" }),
  tree: fc.record({
    wait: fc.constantFrom(...WAITS),
    end: fc.constantFrom("complete", "complete", "complete", ...ENDS),
    delayed: fc.integer({ min: 0, max: 4 }).map((n) => n === 0),
    pool: fc.constantFrom<0 | 1>(0, 0, 1),
    together: fc.boolean(),
    children: fc.oneof(
      { depthSize: "small", depthIdentifier: "trees" },
      fc.constant([]),
      tie("forest"),
    ),
  }),
}));

/** Runs trees to the end of each task. */
async function runForest(trees: readonly Tree[]): Promise<void> {
  const { pools: [one, two], kits, runs, enqueue } = makeForest(trees);
  await using first = testPool(one);
  await using second = testPool(two);
  kits.push(first, second);
  for (const [nth, tree] of trees.entries()) await enqueue(String(nth), tree);
  for (;;) {
    const ran = [...await first.run(), ...await second.run()];
    const left = [...await first.enqueued(), ...await second.enqueued()];
    if (ran.length === 0 && left.length === 0) break;
    for (const kit of kits) kit.advance({ minutes: 1 });
  }
  for (const [path, { end }] of pathsOf(trees)) {
    assertEquals([path, runs.get(path) ?? 0], [path, end === "canceled" ? 0 : 1]);
  }
  for (const pool of [one, two]) {
    const { items } = await pool.activity.list({ limit: 1_000 });
    const attempts = items.map(({ status, attempt }) => [status === "canceled", attempt]);
    assertTrue(attempts.every(([canceled, attempt]) => attempt === (canceled ? 0 : 1)));
  }
  await Promise.all([one.close(), two.close()]);
}

Deno.test("whatever tree of tasks handlers enqueue and wait for, in one pool or two, each runs once and all end", async () => {
  await fc.assert(
    fc.asyncProperty(
      forest,
      (trees) => within(runForest(trees), { what: JSON.stringify(trees), timeoutMs: EACH_MS }),
    ),
    { numRuns: 150, endOnFailure: true },
  );
});

Deno.test("eight handlers that wait for three children each run each task once, however they wait", async () => {
  const leaf: Tree = {
    ...{ wait: "result", end: "complete", delayed: false, pool: 0, together: false, children: [] },
  };
  for (const wait of WAITS) {
    for (const together of [false, true]) {
      const children = Array.from({ length: 3 }, () => ({ ...leaf, wait }));
      const trees = Array.from({ length: 8 }, () => ({ ...leaf, wait, together, children }));
      const what = `eight handlers that wait by ${wait}, ${together ? "together" : "in turn"}`;
      await within(runForest(trees), { what, timeoutMs: EACH_MS });
    }
  }
});

Deno.test("a handler may wait for a task that itself waits for tasks, and enqueues them later", async () => {
  await using subject = makeSubject();
  const { pool } = subject;
  const maker = pool.task("maker", async () => {
    const made: string[] = [];
    for (const text of ["a", "b", "c"]) {
      made.push(await (await pool.enqueue(shout, { text })).result());
      // The event loop turns, and others find nothing to run.
      for (let turn = 0; turn < 20; turn++) await fetch("data:,turn").then((r) => r.text());
    }
    return made.join("");
  });
  const user = pool.task("user", { context: z.string() }, async ({ context }) => {
    return `used ${await pool.handle(maker, context).result()}`;
  });
  await using kit = testPool(pool);
  const { agentId } = await pool.enqueue(maker);
  await pool.enqueueMany(user, [agentId, agentId]);
  const runs = await within(kit.run(), { what: "users of a maker", timeoutMs: EACH_MS });
  assertEquals(runs.map(({ taskName, result }) => `${taskName} ${result}`), [
    ...["maker ABC", "user used ABC", "user used ABC"],
    ...["shout A", "shout B", "shout C"],
  ]);
});

Deno.test("handlers of two pools may wait for each other's tasks, to and fro", async () => {
  await using one = makeSubject();
  await using two = makeSubject();
  await using kit = testPool(one.pool);
  await using _other = testPool(two.pool);
  const pools = [one.pool, two.pool];
  const count = defineTask("count", { context: z.number(), result: z.array(z.number()) });
  for (const [nth, pool] of pools.entries()) {
    pool.task(count, async ({ context }) => {
      if (context === 0) return [0];
      const next = await (pools[1 - nth] as Pool).enqueue(count, context - 1);
      return [context, ...await next.result()];
    });
  }
  await one.pool.enqueue(count, 6);
  const runs = await within(kit.run(), { what: "six times to and fro", timeoutMs: EACH_MS });
  assertEquals(runs[0]?.result, [6, 5, 4, 3, 2, 1, 0]);
  assertEquals(runs.length, 4);
});

Deno.test("a handler may have the kit run what it enqueued", async () => {
  await using subject = makeSubject();
  const { pool } = subject;
  await using kit = testPool(pool);
  const inner = pool.task("inner", async () => {
    await pool.enqueueMany(shout, [{ text: "a" }, { text: "b" }]);
    const first = await kit.step();
    return [first?.result, ...(await kit.run()).map(({ result }) => result)];
  });
  await pool.enqueue(inner);
  const runs = await within(kit.run(), { what: "a run in a run", timeoutMs: EACH_MS });
  assertEquals(runs[0]?.result, ["A", "B"]);
});

Deno.test("a run that was refused for its limit goes on with the next, handlers that wait included", async () => {
  await using subject = makeSubject();
  const { pool } = subject;
  const fan = pool.task("fan", async () => {
    const tasks = await pool.enqueueMany(shout, ["a", "b", "c"].map((text) => ({ text })));
    return (await Promise.all(tasks.map((task) => task.result()))).join("");
  });
  await using kit = testPool(pool);
  const task = await pool.enqueue(fan);
  await assertRejects(() => kit.run({ limit: 2 }), Error);
  await kit.run();
  assertEquals(await task.result(), "ABC");
  assertEquals(await pool.activity.count({ status: "complete" }), 4);
});
