/**
 * What the compiler accepts and refuses of a handler, and of schemas of several libraries. Checked, never run.
 */
import { defineTask, type NoSchema, type Pool, type TaskHandler } from "@agentexec/core";
import type { StandardSchemaV1 } from "@standard-schema/spec";
import { z } from "zod";
import * as mini from "zod/mini";
import * as zod3 from "zod/v3";

/** Fails to compile unless both types are the same. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true
  : false;
function isTrue<T extends true>(): T | undefined {
  return undefined;
}

const verdict = defineTask("verdict", {
  context: z.object({ text: z.string() }),
  result: z.object({ kind: z.enum(["good", "bad"]), pair: z.tuple([z.string(), z.number()]) }),
});
const open = defineTask("open", { context: z.object({ text: z.string() }) });
const anything = defineTask("anything", { result: z.unknown() });

interface Summary {
  readonly summary: string;
}
class Answer {
  readonly text = "ok";
}

/** Results that JSON can hold. */
export function returning(pool: Pool): void {
  pool.task("a", () => {});
  pool.task("b", async () => {});
  pool.task("c", () => "text");
  pool.task("d", ({ agentId, attempt }) => ({ agentId, attempt, at: new Date() }));
  pool.task("e", async (): Promise<Summary> => await Promise.resolve({ summary: "" }));
  pool.task("f", async () => await (await fetch("https://example.com")).json());
  pool.task("g", (): unknown => JSON.parse("{}"));
  pool.task("h", async (): Promise<unknown> => await Promise.resolve(1));
  pool.task("i", () => new Answer());
  pool.task("j", () => [1, null, "x"] as const);
  pool.task("k", (): string | undefined => undefined);
  pool.task("l", () => {
    throw new RangeError("never returns");
  });
  pool.task("m", () => ({ name: "an error's members", message: "of plain data" }));
  pool.task("n", { queue: "q" }, async ({ signal }) => await Promise.resolve(signal.aborted));
  pool.task("o", { context: z.object({ a: z.number() }) }, ({ context }) => context.a + 1);
  pool.task("p", { result: z.enum(["x", "y"]) }, () => "x");
  pool.task("q", { result: z.enum(["x", "y"]) }, async ({ attempt }) => {
    await Promise.resolve();
    return attempt > 1 ? "x" : "y";
  });
  pool.task(verdict, ({ context }) => ({ kind: "good", pair: [context.text, 1] }));
  pool.task(verdict, async ({ context }) => {
    isTrue<Same<typeof context, { text: string }>>();
    await Promise.resolve();
    if (context.text === "") return { kind: "bad", pair: ["", 0] };
    return { kind: "good", pair: [context.text, 1] };
  });
  pool.task(open, ({ context: { text } }) => text.length);
  pool.task(anything, () => ({ any: "JSON" }));
}

/** Handlers that were made elsewhere. */
export function handing(
  pool: Pool,
  plain: TaskHandler<NoSchema, NoSchema>,
  typed: TaskHandler<typeof verdict.context, typeof verdict.result>,
  any: TaskHandler,
): void {
  pool.task("a", plain);
  pool.task(verdict, typed);
  pool.task(defineTask("b"), any);
}

/** Results that JSON would lose. */
export function losing(pool: Pool): void {
  // @ts-expect-error: a generator's body would never run
  pool.task("a", function* () {
    yield 1;
  });
  // @ts-expect-error: and that of an async one neither
  pool.task("b", async function* ({ signal }) {
    yield await Promise.resolve(signal.aborted);
  });
  // @ts-expect-error: with options too
  pool.task("c", { queue: "q" }, async function* () {
    yield await Promise.resolve(1);
  });
  // @ts-expect-error: and with a definition
  pool.task(open, async function* ({ context }) {
    yield await Promise.resolve(context.text);
  });
  // @ts-expect-error: return await response.json()
  pool.task("d", () => fetch("https://example.com"));
  // @ts-expect-error: return await response.json()
  pool.task("e", async () => await fetch("https://example.com"));
  // @ts-expect-error: in one of several cases
  pool.task("f", async ({ attempt }) => attempt > 1 ? "x" : await fetch("https://example.com"));
  // @ts-expect-error: Object.fromEntries(headers)
  pool.task("g", async () => (await fetch("https://example.com")).headers);
  // @ts-expect-error: it may be null, but is no JSON otherwise
  pool.task("h", async () => (await fetch("https://example.com")).body);
  // @ts-expect-error: Object.fromEntries(map)
  pool.task("i", () => new Map([["a", 1]]));
  // @ts-expect-error: [...set]
  pool.task("j", () => new Set([1]));
  // @ts-expect-error: String(params)
  pool.task("k", () => new URLSearchParams("a=1"));
  // @ts-expect-error: Base64
  pool.task("l", () => new Uint8Array(3));
  // @ts-expect-error: String(value)
  pool.task("m", () => 1n);
  // @ts-expect-error: a result of another type
  pool.task(verdict, () => ({ kind: "ugly", pair: ["", 0] }));
  // @ts-expect-error: a result that is missing
  pool.task(verdict, () => {});
}

interface Made extends StandardSchemaV1<{ a?: string }, { a: string }> {
  readonly own: true;
}

/** Schemas of any library. */
export async function typing(pool: Pool, made: Made): Promise<void> {
  const small = mini.object({ a: mini._default(mini.string(), "x") });
  const three = zod3.z.object({ a: zod3.z.string().default("x") });
  for (
    const definition of [
      defineTask("small", { context: small, result: small }),
      defineTask("three", { context: three, result: three }),
      defineTask("made", { context: made, result: made }),
    ] as const
  ) pool.tasks.get(definition.name);
  const byMini = await pool.enqueue(defineTask("small", { context: small, result: small }), {});
  isTrue<Same<Awaited<ReturnType<typeof byMini.result>>, { a: string }>>();
  const by3 = await pool.enqueue(defineTask("three", { context: three, result: three }), {});
  isTrue<Same<Awaited<ReturnType<typeof by3.result>>, { a: string }>>();
  const byMade = await pool.enqueue(defineTask("made", { context: made, result: made }), {});
  isTrue<Same<Awaited<ReturnType<typeof byMade.result>>, { a: string }>>();
  // @ts-expect-error: a member of another type
  await pool.enqueue(defineTask("made", { context: made }), { a: 1 });
  pool.task("own", { context: made, result: made }, ({ context }) => {
    isTrue<Same<typeof context, { a: string }>>();
    return {};
  });
  // @ts-expect-error: a plain object of fields is no schema
  defineTask("fields", { context: { company: z.string() } });
}
