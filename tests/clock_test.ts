import { backoff } from "../src/clock.ts";
import { assertEquals, assertTrue } from "./support/assert.ts";

Deno.test("the pauses between tries grow to the longest one, and are spread below it", () => {
  const pauses = { firstMs: 100, mostMs: 1_000 };
  const grown = [1, 2, 3, 4, 5, 10_000].map((failures) =>
    backoff(failures, { ...pauses, exact: true })
  );
  assertEquals(grown, [100, 200, 400, 800, 1_000, 1_000]);
  for (const [tries, whole] of grown.entries()) {
    const drawn = Array.from({ length: 100 }, () => backoff(tries + 1, pauses));
    assertTrue(drawn.every((ms) => ms > whole / 2 - 1 && ms <= whole), `${drawn}`);
    assertTrue(new Set(drawn).size > 10, `${drawn}`);
  }
});
