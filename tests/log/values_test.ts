import fc from "fast-check";
import { decodeValue, encodeValue, inspectSafely, type Json } from "../../src/log/values.ts";
import { assertEquals, assertMatch, assertTrue } from "../support/assert.ts";

function roundTrip(value: unknown, chars = 10_000): unknown {
  return decodeValue(JSON.parse(JSON.stringify(encodeValue(value, { left: chars }))));
}

Deno.test("a value of a record comes back as it was: JSON, dates, big numbers, undefined", () => {
  for (
    const value of [
      null,
      true,
      1.5,
      "text",
      [1, [2]],
      { a: { b: ["c"] } },
      NaN,
      -Infinity,
      12345678901234567890n,
      undefined,
      new Date(1_700_000_000_000),
      { "~": "error", value: "not ours" },
    ]
  ) assertEquals(roundTrip(value), value);
});

Deno.test("an error of a record is an error again, with its stack, code and cause", () => {
  const given = Object.assign(new TypeError("no", { cause: new RangeError("deep") }), { code: 7 });
  const error = roundTrip({ error: given }) as { error: Error & { code: number } };
  assertTrue(error.error instanceof Error);
  assertEquals(error.error.name, "TypeError");
  assertEquals(error.error.message, "no");
  assertEquals(error.error.stack, given.stack);
  assertEquals(error.error.code, 7);
  assertEquals((error.error.cause as Error).message, "deep");
});

Deno.test("a key __proto__ is a key like any other and changes no prototype", () => {
  const given: unknown = JSON.parse('{"__proto__":{"polluted":true},"a":1}');
  const back = roundTrip(given) as Record<string, unknown>;
  assertEquals(Object.getPrototypeOf(back), Object.prototype);
  assertEquals(Object.keys(back), ["__proto__", "a"]);
  assertEquals(Reflect.get({}, "polluted"), undefined);
});

Deno.test("what JSON has no word for is shown as text, a cycle and a throwing getter included", () => {
  const cyclic: Record<string, unknown> = { name: "loop" };
  cyclic["self"] = cyclic;
  assertEquals(roundTrip(cyclic), { name: "loop", self: "[Circular]" });
  assertEquals(roundTrip(new Map([["a", 1]])), "Map(1) { 'a' => 1 }");
  assertEquals(roundTrip(new URL("https://example.com/x")), "https://example.com/x");
  const throwing = {
    get bad() {
      throw new TypeError("trap");
    },
    good: 1,
  };
  assertEquals(roundTrip(throwing), { bad: "[getter that throws]", good: 1 });
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  assertEquals(typeof roundTrip(proxy), "string");
  assertEquals(typeof inspectSafely(proxy), "string");
});

Deno.test("a value beyond the budget is cut, and says by how much", () => {
  assertEquals(roundTrip("x".repeat(50), 10), `${"x".repeat(10)}… (40 more characters)`);
  const many = roundTrip(Array.from({ length: 5_000 }, () => 1)) as unknown[];
  assertMatch(String(many.at(-1)), /^… \d+ more$/);
  let deep: unknown = "bottom";
  for (let depth = 0; depth < 10_000; depth++) deep = { deep };
  assertTrue(JSON.stringify(encodeValue(deep, { left: 10_000 })).length < 1_000);
});

Deno.test("encodeValue() never throws and stays within the budget, whatever it is given", () => {
  const anything = fc.anything({
    withBigInt: true,
    withDate: true,
    withMap: true,
    withSet: true,
    withTypedArray: true,
    withNullPrototype: true,
    withSparseArray: true,
    withObjectString: true,
  });
  fc.assert(fc.property(anything, (value) => {
    const json: Json = encodeValue(value, { left: 500 });
    decodeValue(JSON.parse(JSON.stringify(json)));
    assertTrue(JSON.stringify(json).length < 20_000);
  }));
});
