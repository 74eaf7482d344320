import type { StandardSchemaV1 } from "@standard-schema/spec";
import { z } from "zod";
import * as mini from "zod/mini";
import { z as zod3 } from "zod/v3";
import { ValidationError } from "../../src/errors.ts";
import { decodeContext, decodeResult, encodeContext, encodeResult } from "../../src/task/codec.ts";
import type { ContextSchema } from "../../src/task/context.ts";
import { defineTask, type TaskDefinition } from "../../src/task/definition.ts";
import { assertEquals, assertMatch, assertRejects, assertThrows } from "../support/assert.ts";

const LIMITS = { maxBytes: 1_000 };

/** A schema of no library: it takes the number of a text, and says where that stood. */
function handMade(check: (value: unknown) => unknown = (value) => value): StandardSchemaV1<
  { n: string },
  { n: number }
> {
  return {
    "~standard": {
      version: 1,
      vendor: "hand",
      async validate(value) {
        const n = Number((await check(value) as { n?: unknown } | null)?.n ?? NaN);
        if (!Number.isNaN(n)) return { value: { n } };
        return { issues: [{ message: "No number", path: [{ key: "n" }] }] };
      },
    },
  };
}

const three = zod3.object({ n: zod3.string().transform(Number).pipe(zod3.number()) });
const functional = Object.assign(() => {}, handMade());

const numbers: readonly [string, ContextSchema, RegExp][] = [
  [
    "zod 4",
    z.object({ n: z.string().transform(Number).pipe(z.number()) }),
    /context\.n is refused, Invalid input: expected string, received undefined/,
  ],
  [
    "zod/mini",
    mini.object({ n: mini.pipe(mini.string(), mini.transform(Number)) }),
    /context\.n is refused, Invalid input/,
  ],
  ["zod 3", three, /context\.n is refused, Required, current value is undefined$/],
  [
    "no library, asynchronous",
    handMade(),
    /context\.n is refused, No number, current value is und/,
  ],
  ["no library, a function", functional, /context\.n is refused, No number/],
];

for (const [whose, schema, refusal] of numbers) {
  Deno.test(`a schema of ${whose} checks what goes in and converts what comes out`, async () => {
    const definition = defineTask("count", { context: schema, result: schema }) as TaskDefinition;
    assertEquals(await encodeContext(definition, { n: "5" }, LIMITS), '{"n":"5"}');
    assertEquals(await decodeContext(definition, '{"n":"5"}'), { n: 5 });
    assertEquals(await encodeResult(definition, { n: "6" }, LIMITS), '{"n":"6"}');
    assertEquals(await decodeResult(definition, '{"n":"6"}'), { n: 6 });
    const error = await assertRejects(
      () => encodeContext(definition, {}, LIMITS),
      ValidationError,
    );
    assertMatch(error.message, refusal);
    assertEquals(error.issues.map(({ path }) => path), [["n"]]);
    await assertRejects(() => encodeResult(definition, {}, LIMITS), ValidationError);
    await assertRejects(() => decodeResult(definition, "{}"), ValidationError);
  });
}

Deno.test("a schema that throws or rejects is told by what it threw", async () => {
  for (
    const schema of [
      handMade(() => {
        throw new RangeError("no luck");
      }),
      handMade(() => Promise.reject(new RangeError("no luck"))),
    ]
  ) {
    const definition = defineTask("count", { context: schema }) as TaskDefinition;
    const error = await assertRejects(
      () => encodeContext(definition, { n: "1" }, LIMITS),
      ValidationError,
    );
    assertEquals(
      error.message,
      "Cannot enqueue task 'count': the schema of its context threw RangeError: no luck",
    );
  }
});

const dates: readonly [string, ContextSchema, unknown, RegExp][] = [
  [
    "zod 4",
    z.object({ at: z.date() }),
    { at: new Date(0) },
    /context\.at is refused, .*current value is a Date; JSON has no date: in the schema use z\.iso\.datetime\(\) or z\.coerce\.date\(\)$/,
  ],
  [
    "zod/mini",
    mini.object({ at: mini.optional(mini.date()) }),
    { at: new Date(0) },
    /context\.at .*JSON has no date: in the schema use z\.iso\.datetime\(\)/,
  ],
  [
    "zod 3",
    zod3.object({ at: zod3.union([zod3.date(), zod3.number()]) }),
    { at: "1970-01-01" },
    /context\.at .*JSON has no date: in the schema use z\.iso\.datetime\(\)/,
  ],
  [
    "a library that says what it expects",
    {
      "~standard": {
        version: 1,
        vendor: "other",
        validate: () => ({
          issues: [{ message: "Not that", path: ["at"], expected: "Date" }],
        }),
      },
    } as ContextSchema,
    { at: new Date(0) },
    /context\.at is refused, Not that, current value is a Date; JSON has no Date: in the schema take its ISO string/,
  ],
  [
    "a library that does not",
    handMade((value) => ({ n: (value as { n: unknown }).n instanceof Date ? 1 : NaN })),
    { n: new Date(0) },
    /context\.n is refused, No number, current value is a Date, which JSON turns into a string$/,
  ],
];

for (const [whose, schema, input, message] of dates) {
  Deno.test(`a schema of a Date fails at the first enqueue with the field and what to write: ${whose}`, async () => {
    const definition = defineTask("remind", { context: schema }) as TaskDefinition;
    const error = await assertRejects(
      () => encodeContext(definition, input, LIMITS),
      ValidationError,
    );
    assertMatch(error.message, message);
  });
}

class Company {
  readonly name = "";
}
/** As zod was before 3.24. */
const old = { _def: { typeName: "ZodObject" }, parse() {}, safeParse() {} };
function standard(props: object): object {
  return { "~standard": { vendor: "x", ...props } };
}

const mistakes: readonly [string, unknown, RegExp][] = [
  ["nothing", undefined, /is undefined; leave the option out if there is no schema/],
  ["null", null, /is null$/],
  ["a text", "string", /is a string$/],
  [
    "a zod before 3.24",
    old,
    /is a schema of a zod that is too old; use zod 4, or zod 3\.24 or later$/,
  ],
  ["a class", Company, /is the class 'Company', which says nothing of its members at run time/],
  ["a function that makes schemas", z.string, /is the function.*; call it if it makes a schema$/],
  [
    "a plain object of schemas",
    { company: z.string() },
    /plain object of schemas; write z\.object/,
  ],
  ["a plain object of texts", { company: "string" }, /is a plain object; declare its members/],
  ["an empty object", {}, /is a plain object; declare its members/],
  [
    "a JSON Schema",
    { type: "object", properties: {} },
    /a JSON Schema, which checks nothing by itself/,
  ],
  ["a JSON Schema of alternatives", { anyOf: [] }, /a JSON Schema/],
  ["a schema that is still to come", Promise.resolve(z.string()), /is a Promise; await it$/],
  ["an array of schemas", [z.string()], /is an array; write z\.array\(…\)/],
  [
    "an object of a class",
    new Company(),
    /an object of the class 'Company', which does not implement/,
  ],
  ["a later standard", standard({ version: 2, validate() {} }), /of version 2 of Standard Schema/],
  ["a schema that cannot check", standard({ version: 1 }), /its '~standard' has no 'validate'$/],
];

for (const [what, schema, message] of mistakes) {
  Deno.test(`defineTask() names ${what} in place of a schema`, () => {
    for (const option of ["context", "result"]) {
      const error = assertThrows(() => defineTask("research", { [option]: schema }), TypeError);
      assertMatch(
        error.message,
        new RegExp(
          `^Cannot define task 'research': '${option}' must be a schema such as z\\.object`,
        ),
      );
      assertMatch(error.message, message);
    }
  });
}

Deno.test("defineTask() names a schema in place of the options", () => {
  const error = assertThrows(() => defineTask("research", z.string() as never), TypeError);
  assertEquals(
    error.message,
    "Cannot define task 'research': the options are a schema; write { context: schema } or { result: schema }",
  );
  assertThrows(() => defineTask("research", null as never), TypeError);
  const unknown = assertThrows(
    () => defineTask("research", { input: z.any() } as never),
    TypeError,
  );
  assertEquals(
    unknown.message,
    "Cannot define task 'research': unknown option 'input', expected one of context, result, queue, interrupted",
  );
});
