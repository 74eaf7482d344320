import { runInNewContext } from "node:vm";
import { z } from "zod";
import { ValidationError } from "../../src/errors.ts";
import {
  decodeContext,
  decodeResult,
  encodeContext,
  encodeMetadata,
  encodeResult,
  encodeUnchecked,
} from "../../src/task/codec.ts";
import { defineTask, type TaskDefinition } from "../../src/task/definition.ts";
import { assertEquals, assertMatch, assertRejects, assertThrows } from "../support/assert.ts";

const LIMITS = { maxBytes: 1_000 };

function taking(context: z.ZodType): TaskDefinition {
  return defineTask("research", { context }) as TaskDefinition;
}

function giving(result?: z.ZodType): TaskDefinition {
  return (result === undefined
    ? defineTask("research")
    : defineTask("research", { result })) as TaskDefinition;
}

const company = taking(z.object({ company: z.string(), tags: z.array(z.string()).optional() }));
const anything = taking(z.any());
const bare = giving();

const loop: Record<string, unknown> = {};
loop["deep"] = { loop };

function throwing(): object {
  return {
    fine: 1,
    get bad(): never {
      throw new Error("getter");
    },
  };
}

function nested(depth: number): unknown {
  let value: unknown = 1;
  for (let at = 0; at < depth; at++) value = [value];
  return value;
}

const refused: [string, TaskDefinition, unknown, string | RegExp][] = [
  [
    "a member of the wrong kind",
    company,
    { company: 5 },
    "Cannot enqueue task 'research': context.company is refused, Invalid input: expected string, received number, current value is a number",
  ],
  [
    "a member that is missing",
    company,
    {},
    "Cannot enqueue task 'research': context.company is refused, Invalid input: expected string, received undefined, current value is undefined",
  ],
  [
    "an element of the wrong kind",
    company,
    { company: "Acme", tags: ["a", NaN] },
    "Cannot enqueue task 'research': context.tags[1] is refused, Invalid input: expected string, received null, current value is NaN",
  ],
  [
    "nothing at all",
    company,
    undefined,
    "Cannot enqueue task 'research': context is refused, Invalid input: expected object, received undefined, current value is undefined",
  ],
  [
    "a date that its schema wants as one",
    taking(z.object({ when: z.date() })),
    { when: new Date(0) },
    "Cannot enqueue task 'research': context.when is refused, Invalid input: expected date, received string, current value is a Date; " +
    "JSON has no date: in the schema use z.iso.datetime() or z.coerce.date()",
  ],
  [
    "a date in one arm of a union",
    taking(z.object({ when: z.union([z.number(), z.date()]) })),
    { when: new Date(0) },
    /context\.when is refused.*JSON has no date: in the schema use z\.iso\.datetime\(\)/,
  ],
  [
    "a Map",
    taking(z.object({ prices: z.map(z.string(), z.number()) })),
    { prices: new Map() },
    "Cannot enqueue task 'research': context.prices is a Map, which JSON cannot hold, use Object.fromEntries(map) or an array of pairs, [...map]",
  ],
  [
    "a Set below an array",
    anything,
    { a: [{}, { b: new Set([1]) }] },
    "Cannot enqueue task 'research': context.a[1].b is a Set, which JSON cannot hold, use an array, [...set]",
  ],
  [
    "a BigInt",
    anything,
    { id: 1n },
    "Cannot enqueue task 'research': context.id is a BigInt, which JSON cannot hold, use its text, String(value)",
  ],
  [
    "a value that contains itself",
    anything,
    loop,
    "Cannot enqueue task 'research': context.deep.loop cannot be written as JSON, it contains itself",
  ],
  [
    "a getter that throws",
    anything,
    { inner: throwing() },
    /context\.inner.* cannot be written as JSON, reading it threw Error: getter/,
  ],
  [
    "a function",
    anything,
    () => {},
    "Cannot enqueue task 'research': its context is a function, which is no JSON",
  ],
  [
    "a NUL",
    anything,
    { note: { text: "a\0b" } },
    "Cannot enqueue task 'research': context.note.text holds a NUL or half a surrogate pair, which no database can store",
  ],
  ["half a surrogate pair", anything, ["\ud800"], /surrogate/],
  ["a NUL in a member's name", anything, { "a\0": 1 }, /NUL/],
  [
    "too much",
    anything,
    "é".repeat(500),
    "Cannot enqueue task 'research': the JSON of its context is 1002 bytes, more than the 1000 that 'maxContextBytes' allows",
  ],
  [
    "a nesting without end",
    anything,
    nested(100_000),
    /cannot be written as JSON, it is nested too deeply or too large$/,
  ],
  [
    "a context that the task does not take",
    bare,
    { company: "Acme" },
    "Cannot enqueue task 'research': it takes no context, current value is an object; declare one with defineTask(\"research\", { context: … })",
  ],
  [
    "what a refinement of the program chokes on",
    taking(
      z.string().refine(() => {
        throw new Error("refinement");
      }),
    ),
    "x",
    "Cannot enqueue task 'research': the schema of its context threw Error: refinement",
  ],
];

for (const [what, definition, input, message] of refused) {
  Deno.test(`encodeContext() refuses ${what}`, async () => {
    const error = await assertRejects(
      () => encodeContext(definition, input, LIMITS),
      ValidationError,
    );
    if (typeof message === "string") assertEquals(error.message, message);
    else assertMatch(error.message, message);
  });
}

Deno.test("encodeContext() names the first three problems and counts the rest", async () => {
  const many = taking(z.record(z.string(), z.number()));
  const error = await assertRejects(
    () => encodeContext(many, { a: "", b: "", c: "", d: "", e: "" }, LIMITS),
    ValidationError,
  );
  assertMatch(error.message, /context\.a .*; context\.b .*; context\.c .*; and 2 more$/);
});

Deno.test("encodeContext() stores the JSON of the input, and decodeContext() gives the schema's output", async () => {
  const definition = taking(
    z.object({ when: z.coerce.date(), limit: z.number().default(3), name: z.string().trim() }),
  );
  const input = { when: new Date(0), name: " x " };
  const text = await encodeContext(definition, input, LIMITS);
  assertEquals(text, '{"when":"1970-01-01T00:00:00.000Z","name":" x "}');
  assertEquals(await decodeContext(definition, text), { when: new Date(0), limit: 3, name: "x" });
});

Deno.test("encodeContext() waits for a schema that checks asynchronously", async () => {
  const definition = taking(z.string().refine((value) => Promise.resolve(value === "yes")));
  assertEquals(await encodeContext(definition, "yes", LIMITS), '"yes"');
  await assertRejects(() => encodeContext(definition, "no", LIMITS), ValidationError);
});

Deno.test("encodeContext() stores nothing where there is nothing to store", async () => {
  assertEquals(await encodeContext(bare, undefined, LIMITS), "");
  assertEquals(await decodeContext(bare, ""), undefined);
  const optional = taking(z.object({ a: z.string() }).optional());
  assertEquals(await encodeContext(optional, undefined, LIMITS), "");
  assertEquals(await decodeContext(optional, ""), undefined);
});

Deno.test("encodeContext() stores every character that can be stored", async () => {
  const text = "\\u0000 é 😀 \u2028 \x01 \u202e \\ud800";
  const stored = await encodeContext(anything, { text }, LIMITS);
  assertEquals(await decodeContext(anything, stored), { text });
});

Deno.test("encodeUnchecked() checks JSON and size alone", () => {
  assertEquals(encodeUnchecked("research", undefined, LIMITS), "");
  assertEquals(encodeUnchecked("research", { a: [1, null] }, LIMITS), '{"a":[1,null]}');
  assertThrows(() => encodeUnchecked("research", 1n, LIMITS), ValidationError);
  assertThrows(() => encodeUnchecked("research", "x".repeat(1_000), LIMITS), ValidationError);
});

Deno.test("decodeContext() says so when the schema has changed since", async () => {
  const error = await assertRejects(
    () => decodeContext(company, '{"firm":"Acme"}'),
    ValidationError,
  );
  assertEquals(
    error.message,
    "Cannot run task 'research', the context no longer passes its schema: context.company is refused, " +
      "Invalid input: expected string, received undefined, current value is undefined",
  );
});

Deno.test("decodeContext() refuses a context that the task does not take", async () => {
  const error = await assertRejects(() => decodeContext(bare, "{}"), ValidationError);
  assertMatch(error.message, /takes no context and was enqueued with one, which is an object$/);
});

class Answer {
  readonly text = "ok";
  shout(): string {
    return this.text.toUpperCase();
  }
}

const results: [string, unknown, string | undefined | RegExp][] = [
  ["nothing", undefined, undefined],
  ["null", null, "null"],
  ["NaN and infinities", { a: NaN, b: [Infinity] }, '{"a":null,"b":[null]}'],
  ["a Date", { at: new Date(0) }, '{"at":"1970-01-01T00:00:00.000Z"}'],
  ["members that are undefined or functions", { a: undefined, b: () => {}, c: 1 }, '{"c":1}'],
  ["an instance of a class", new Answer(), '{"text":"ok"}'],
  ["what has a toJSON", { toJSON: () => ["x"] }, '["x"]'],
  ["a function", () => {}, /its result is a function, which is no JSON$/],
  ["a symbol", Symbol("s"), /its result is a symbol, which is no JSON$/],
  ["a BigInt", 1n, /result is a BigInt, which JSON cannot hold/],
  ["a Map", new Map([[1, 2]]), /result is a Map, which JSON cannot hold/],
  ["a Set", { tags: new Set() }, /result\.tags is a Set, which JSON cannot hold/],
  [
    "an Error",
    { failed: new TypeError("x") },
    /result\.failed is an Error, which JSON cannot hold, use its message$/,
  ],
  [
    "binary data",
    { image: new Uint8Array(3) },
    /result\.image is a Uint8Array, which JSON cannot hold, use Base64$/,
  ],
  [
    "a promise",
    [Promise.resolve(1)],
    /result\[0\] is a Promise, which JSON cannot hold, await it$/,
  ],
  ["a value that contains itself", loop, /contains itself$/],
  ["a getter that throws", throwing(), /reading it threw Error: getter$/],
  ["a toJSON that throws", { toJSON: () => throwing() }, /reading it threw Error: getter$/],
  ["a nesting without end", nested(100_000), /nested too deeply or too large$/],
  ["too much", "x".repeat(1_000), /1002 bytes, more than the 1000 that 'maxResultBytes' allows$/],
  ["a NUL", "\0", /NUL/],
];

for (const [what, value, expected] of results) {
  const ends = expected instanceof RegExp ? "refuses" : "stores";
  Deno.test(`encodeResult() ${ends} ${what}`, async () => {
    if (!(expected instanceof RegExp)) {
      assertEquals(await encodeResult(bare, value, LIMITS), expected);
      return;
    }
    const error = await assertRejects(() => encodeResult(bare, value, LIMITS), ValidationError);
    assertMatch(error.message, /^Cannot store the result of task 'research': /);
    assertMatch(error.message, expected);
  });
}

class Private {
  readonly #text = "kept to itself";
  readonly shout = () => this.#text;
}

class Stream {
  readonly controller = "open";
  async *[Symbol.asyncIterator]() {
    yield await Promise.resolve(1);
  }
}

function* count() {
  yield 1;
}

const form = new FormData();
const lossy: [string, unknown, RegExp][] = [
  [
    "a Response",
    new Response("x"),
    /a Response, .* await response\.json\(\) or await response\.text/,
  ],
  ["a Request", new Request("https://example.com"), /a Request, .* request\.url/],
  ["Headers", new Headers({ a: "b" }), /Headers, .* Object\.fromEntries\(headers\)$/],
  [
    "URLSearchParams",
    new URLSearchParams("a=1"),
    /Object\.fromEntries\(params\) or String\(params\)$/,
  ],
  ["FormData", form, /Object\.fromEntries\(form\)$/],
  ["a Blob", new Blob(["x"]), /a Blob, .* await blob\.text\(\)/],
  ["a File", new File(["x"], "x.txt"), /a File, .* await file\.text\(\)/],
  [
    "a ReadableStream",
    new Blob(["x"]).stream(),
    /ReadableStream, .* new Response\(stream\)\.text\(\)$/,
  ],
  ["a generator", count(), /a Generator, .* \[\.\.\.generator\]$/],
  ["an iterator", new Map().values(), /Map Iterator, .* an array, Array\.from\(iterator\)$/],
  ["an iterator's helper", [1].values().map(String), /Iterator Helper, .* Array\.from/],
  ["a stream of a program's own", new Stream(), /a Stream, .* await Array\.fromAsync\(value\)$/],
  ["a thenable", { then: () => {} }, /which JSON cannot hold, await it$/],
  ["a RegExp", /x/, /a RegExp, .* its source$/],
  [
    "an Error's subclass with a tag",
    Object.assign(new RangeError(), tag("Own"), { code: 1 }),
    /message$/,
  ],
  ["a DOMException", new DOMException("x"), /its message$/],
  ["a WeakMap", new WeakMap(), /a WeakMap, .* a plain object of what is to be kept/],
  ["an AbortController", new AbortController(), /an AbortController, .* a plain object/],
  ["what keeps all to itself", new Private(), /a Private, .* or give its class a toJSON\(\)$/],
  ["an object that inherits everything", Object.create({ a: 1 }), /a plain object of what is to/],
  ["a Map of another realm", runInNewContext("new Map()"), /a Map, .* Object\.fromEntries\(map\)/],
  ["an Error of another realm", runInNewContext("new Error('x')"), /an Error, .* its message$/],
  ["bytes of another realm", runInNewContext("new Uint8Array(1)"), /a Uint8Array, .* Base64$/],
];

function tag(name: string): object {
  return { [Symbol.toStringTag]: name };
}

for (const [what, value, message] of lossy) {
  Deno.test(`nothing that is stored loses ${what}: it is refused with what to write instead`, async () => {
    const tries: [() => unknown, RegExp][] = [
      [
        () => encodeResult(bare, value, LIMITS),
        /^Cannot store the result of task 'research': result is a/,
      ],
      [() => encodeResult(bare, { a: [value] }, LIMITS), /: result\.a\[0\] is a/],
      [() => encodeContext(anything, { deep: { er: value } }, LIMITS), /: context\.deep\.er is a/],
      [
        () => encodeUnchecked("research", [value], LIMITS),
        /^Cannot enqueue task 'research': context\[0\] is a/,
      ],
      [
        () => encodeMetadata({ a: { b: value } }, LIMITS),
        /^Cannot use 'metadata': metadata\.a\.b is a/,
      ],
    ];
    for (const [encode, begin] of tries) {
      const error = await assertRejects(async () => await encode(), ValidationError);
      assertMatch(error.message, begin);
      assertMatch(error.message, message);
    }
  });
}

Deno.test("advice on a result says what to return, and on what is in one what to use", async () => {
  const refusal = async (value: unknown) =>
    (await assertRejects(() => encodeResult(bare, value, LIMITS), ValidationError)).message;
  assertEquals(
    await refusal(new Response()),
    "Cannot store the result of task 'research': result is a Response, which JSON cannot hold, " +
      "return await response.json() or await response.text()",
  );
  assertEquals(
    await refusal({ headers: new Headers() }),
    "Cannot store the result of task 'research': result.headers is a Headers, which JSON cannot hold, " +
      "use Object.fromEntries(headers)",
  );
});

Deno.test("what another realm made is stored like what this one made", async () => {
  const value = runInNewContext(
    `({ at: new Date(0), plain: {}, list: [], bare: Object.create(null), n: Object(1) })`,
  );
  const json = '{"at":"1970-01-01T00:00:00.000Z","plain":{},"list":[],"bare":{},"n":1}';
  assertEquals(await encodeResult(bare, value, LIMITS), json);
  assertEquals(await encodeContext(anything, value, LIMITS), json);
  assertEquals(encodeMetadata(value, LIMITS), json);
});

Deno.test("encodeResult() refuses what the schema refuses, nothing included", async () => {
  const definition = giving(z.object({ summary: z.string() }));
  assertEquals(await encodeResult(definition, { summary: "s" }, LIMITS), '{"summary":"s"}');
  for (const value of [undefined, null, {}, { summary: 1 }]) {
    await assertRejects(() => encodeResult(definition, value, LIMITS), ValidationError);
  }
});

Deno.test("decodeResult() gives the schema's output, and plain JSON without one", async () => {
  const definition = giving(z.object({ at: z.coerce.date() }));
  assertEquals(await decodeResult(definition, '{"at":0}'), { at: new Date(0) });
  assertEquals(await decodeResult(bare, '{"at":0}'), { at: 0 });
  assertEquals(await decodeResult(undefined, "[1]"), [1]);
  assertEquals(await decodeResult(undefined, null), undefined);
  await assertRejects(() => decodeResult(definition, null), ValidationError);
});

Deno.test("encodeMetadata() takes plain objects of what can be stored", () => {
  assertEquals(encodeMetadata(undefined, LIMITS), "{}");
  assertEquals(
    encodeMetadata({ org: "o-1", deep: { n: 1 } }, LIMITS),
    '{"org":"o-1","deep":{"n":1}}',
  );
  assertEquals(encodeMetadata(Object.assign(Object.create(null), { a: 1 }), LIMITS), '{"a":1}');
  const others: unknown[] = [null, [], "x", 1, new Date(), new Map(), { a: 1n }, { a: "\0" }];
  for (const other of others) {
    assertThrows(
      () => encodeMetadata(other as Record<string, unknown>, LIMITS),
      ValidationError,
    );
  }
});
