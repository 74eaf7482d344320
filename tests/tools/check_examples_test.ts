import { withoutExample } from "../../tools/check_examples.ts";
import { assertEquals } from "../support/assert.ts";

Deno.test("withoutExample() names the symbols of which no declaration has an example", () => {
  const example = { jsDoc: { tags: [{ kind: "param" }, { kind: "example" }] } };
  const plain = { jsDoc: { tags: [{ kind: "param" }] } };
  assertEquals(
    withoutExample([
      { name: "one", declarations: [plain, example] },
      { name: "none", declarations: [plain] },
      { name: "undocumented", declarations: [{}] },
      { name: "flat", ...example },
    ]),
    ["none", "undocumented"],
  );
});
