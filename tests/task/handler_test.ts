import { runInNewContext } from "node:vm";
import { Pool, type TaskDefinition } from "@agentexec/core";
import { testPool } from "@agentexec/core/testing";
import { assertEquals, assertMatch, assertThrows } from "../support/assert.ts";

const generators: readonly [string, unknown, RegExp][] = [
  ["a generator function", function* () {}, /is a generator function, whose body/],
  ["an async generator function", async function* () {}, /is an async generator function, whose/],
  ["a bound one", async function* () {}.bind(undefined), /is an async generator function, whose/],
  ["a method that is one", { *handle() {} }.handle, /is a generator function, whose body/],
  ["one of another realm", runInNewContext("(async function* () {})"), /is an async generator/],
  ["a class", class Handler {}, /the handler is a class; make it a function/],
  ["nothing", undefined, /must be a function and comes last, current value is undefined$/],
  ["a Promise", Promise.resolve(() => {}), /comes last, current value is a Promise$/],
];

for (const [what, handler, message] of generators) {
  Deno.test(`task() refuses ${what} as a handler, and declares nothing`, async () => {
    await using pool = new Pool({ name: `refusing ${what}`.replaceAll(" ", "-") });
    // A definition of another realm, or made by hand, is a definition.
    const foreign: TaskDefinition = runInNewContext(`({ name: "foreign", context: undefined })`);
    for (const task of ["named", foreign]) {
      const error = assertThrows(() => pool.task(task as "named", handler as never), TypeError);
      assertMatch(error.message, /^Cannot declare task '(named|foreign)': the handler /);
      assertMatch(error.message, message);
    }
    assertThrows(() => pool.task("named", {}, handler as never), TypeError);
    assertEquals([...pool.tasks.keys()], []);
  });
}

Deno.test("task() says that the handler comes last", async () => {
  await using pool = new Pool({ name: "handler-first" });
  const error = assertThrows(() => pool.task("named", (() => {}) as never, {} as never), TypeError);
  assertEquals(
    error.message,
    "Cannot declare task 'named': the handler must be a function and comes last, current value is an object",
  );
  assertThrows(() => pool.task(undefined as never, () => {}), TypeError);
});

Deno.test("a handler that returns an iterator fails its task, and the record says what to return", async () => {
  await using pool = new Pool({ name: "iterators" });
  async function* steps() {
    yield await Promise.resolve(1);
  }
  const walk = pool.task("walk", (): unknown => steps());
  await using _kit = testPool(pool);
  const task = await pool.enqueue(walk);
  assertEquals(await task.wait(), "error");
  assertMatch(
    (await pool.activity.detail(task.agentId))?.error ?? "",
    /result is an AsyncGenerator, which JSON cannot hold, return what it yields as an array, await Array\.fromAsync/,
  );
});
