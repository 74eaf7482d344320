import { describeError, partsOfError } from "../../src/task/describe_error.ts";
import { assertEquals, assertMatch, assertTrue } from "../support/assert.ts";

class RateLimitError extends Error {
  override readonly name = "RateLimitError";
}

function revoked(): object {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}

function hostile(): object {
  return new Proxy(new Error("hidden"), {
    get: () => {
      throw new Error("trap");
    },
    getPrototypeOf: () => {
      throw new Error("trap");
    },
  });
}

const cyclic: Record<string, unknown> = { name: "loop" };
cyclic["self"] = cyclic;

const thrown: [string, unknown, string][] = [
  ["an error", new TypeError("x is not a function"), "TypeError: x is not a function"],
  [
    "an error whose class sets its name",
    new RateLimitError("slow down"),
    "RateLimitError: slow down",
  ],
  ["an error without a message", new RangeError(), "RangeError"],
  ["an error of several lines", new Error("first\n  second\r\nthird"), "Error: first second third"],
  ["a DOMException", new DOMException("stopped", "AbortError"), "AbortError: stopped"],
  ["what looks like an error", { name: "HttpError", message: "404" }, "HttpError: 404"],
  ["a string", "boom", "Thrown string: boom"],
  ["an empty string", "", "Thrown string:"],
  ["undefined", undefined, "Thrown undefined"],
  ["null", null, "Thrown null"],
  ["a number", NaN, "Thrown number: NaN"],
  ["a BigInt", 10n, "Thrown bigint: 10"],
  ["a symbol", Symbol("s"), "Thrown symbol: Symbol(s)"],
  ["a function", () => {}, "Thrown function"],
  ["an object", { code: 42 }, 'Thrown object: {"code":42}'],
  ["an object that contains itself", cyclic, "Thrown object: [object Object]"],
  ["a revoked proxy", revoked(), "Thrown object that cannot be read"],
  ["a proxy that throws", hostile(), "Thrown object that cannot be read"],
];

for (const [what, value, headline] of thrown) {
  Deno.test(`describeError() describes ${what} and does not throw`, () => {
    const described = describeError(value);
    assertEquals(described.headline, headline);
    assertTrue(described.text.length > 0);
  });
}

Deno.test("describeError() bears with getters that throw", () => {
  const error = new Error("kept");
  for (const key of ["stack", "cause", "name"]) {
    Object.defineProperty(error, key, {
      get() {
        throw new Error("getter");
      },
    });
  }
  assertEquals(describeError(error), { headline: "Error: kept", text: "Error: kept" });
});

Deno.test("describeError() tells the stack and every cause with its own", () => {
  const root = new RangeError("too far");
  const middle = new Error("no luck", { cause: root });
  const { text } = describeError(new TypeError("gave up", { cause: middle }));
  assertMatch(text, /^TypeError: gave up\n\s+at .*describe_error_test\.ts/);
  assertMatch(text, /\nCaused by: Error: no luck\n\s+at /);
  assertMatch(text, /\nCaused by: RangeError: too far\n\s+at /);
});

Deno.test("describeError() tells each error of a chain that bites its tail once", () => {
  const first = new Error("first");
  const second = new Error("second", { cause: first });
  first.cause = second;
  const { text } = describeError(first);
  assertEquals(text.match(/Error: first/g)?.length, 1);
  assertEquals(text.match(/Error: second/g)?.length, 1);
});

Deno.test("describeError() tells a cause that is no error", () => {
  assertMatch(
    describeError(new Error("out", { cause: "in" })).text,
    /\nCaused by: Thrown string: in$/,
  );
});

Deno.test("describeError() tells what an AggregateError gathers", () => {
  const { headline, text } = describeError(
    new AggregateError([new TypeError("one"), "two"], "both failed"),
  );
  assertEquals(headline, "AggregateError: both failed");
  assertMatch(text, /\nError 1 of 2: TypeError: one\n/);
  assertMatch(text, /\nError 2 of 2: Thrown string: two/);
});

Deno.test("describeError() cuts the text at 16 KiB and still names the cause", () => {
  const cause = new Error("the cause");
  const { headline, text } = describeError(new Error("é".repeat(100_000), { cause }));
  const bytes = (value: string) => new TextEncoder().encode(value).length;
  assertTrue(bytes(text) <= 16 * 1024, `${bytes(text)} bytes`);
  assertTrue(bytes(headline) <= 1024, `${bytes(headline)} bytes`);
  assertMatch(text, /Caused by: Error: the cause/);
});

Deno.test("describeError() gives nothing that a database refuses", () => {
  const { headline, text } = describeError(new Error("a\0b\ud800c"));
  for (const each of [headline, text]) {
    assertTrue(!each.includes("\0"));
    assertTrue(each.isWellFormed());
  }
});

Deno.test("describeError() bears with a chain of a thousand causes", () => {
  let error = new Error("0");
  for (let depth = 1; depth < 1_000; depth++) error = new Error(String(depth), { cause: error });
  assertEquals(describeError(error).headline, "Error: 999");
});

Deno.test("partsOfError() gives name, message and stack of whatever is thrown", () => {
  class QuotaError extends Error {
    override readonly name = "QuotaError";
  }
  const error = new QuotaError("no tokens left");
  error.message = "changed";
  const parts = partsOfError(error);
  assertEquals([parts.name, parts.message], ["QuotaError", "changed"]);
  assertMatch(parts.stack ?? "", /^QuotaError: changed\n\s+at /);
  assertEquals(partsOfError("just a string"), {
    name: "Error",
    message: "Thrown string: just a string",
    stack: null,
  });
  const bare = new RangeError("bare");
  delete bare.stack;
  assertEquals(partsOfError(bare), { name: "RangeError", message: "bare", stack: null });
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  assertEquals(partsOfError(proxy).name, "Error");
  const huge = partsOfError(new Error("é".repeat(20_000)));
  assertTrue(
    new TextEncoder().encode(huge.message).length <= 16_384 && huge.message.length > 8_000,
  );
});
