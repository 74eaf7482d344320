import { assertEquals } from "../support/assert.ts";
import { longFunctions } from "../../tools/advice.ts";

Deno.test("longFunctions() finds functions and methods over the limit by name and line", () => {
  const source = [
    "export async function declared(",
    "  first: string,",
    "): Promise<void> {",
    "  await first;",
    "}",
    "",
    "class Part {",
    "  async #method(): Promise<void> {",
    "    if (true) {",
    "      await 1;",
    "    }",
    "  }",
    "",
    "  short(): void {}",
    "}",
  ].join("\n");
  assertEquals(longFunctions(source, 4), [
    { name: "declared() at line 1", lines: 5 },
    { name: "#method() at line 8", lines: 5 },
  ]);
  assertEquals(longFunctions(source, 5), []);
});

Deno.test("longFunctions() takes calls and control flow for no functions", () => {
  const source = "  if (\n    a\n  ) {\n    b();\n  }\n  call(\n    1,\n  );\n";
  assertEquals(longFunctions(source, 1), []);
});
