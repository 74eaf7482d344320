import { Client, Pool } from "@agentexec/core";
import { testPool } from "@agentexec/core/testing";
import { assertEquals, assertTrue } from "../support/assert.ts";
import { onBothGrounds, openStores } from "../support/stores.ts";

const LIMIT = 1_024;
/** Characters of one, two, three and four bytes, so that the limit falls into the middle of one. */
const LONG = ["a", "é", "€", "😀"].flatMap((character) =>
  ["", "a", "ab", "abc"].map((start) => start + character.repeat(2 * LIMIT))
);

/** The message is as much of the text as there is room for, to whole characters, with an ellipsis behind it. */
function assertCut(message: string | null | undefined, text: string): void {
  const bytes = new TextEncoder().encode(message ?? "").length;
  assertTrue(bytes <= LIMIT && bytes > LIMIT - 4, `${bytes} bytes of "${text.slice(0, 5)}…"`);
  assertEquals(message?.at(-1), "…");
  assertTrue(text.startsWith(message?.slice(0, -1) ?? "-") && message?.isWellFormed() === true);
}

Deno.test("a handler's message over 1,024 bytes is cut at a character and ends with '…'", async () => {
  await using pool = new Pool({ name: "long-messages" });
  const speak = pool.task("speak", async ({ activity, attempt }) => {
    for (const text of LONG) await activity.update(text, { percentage: attempt });
    await activity.error(LONG.at(-1) ?? "");
    throw new Error("worded");
  });
  await using _kit = testPool(pool);
  const task = await pool.enqueue(speak);
  const heard: (string | null)[] = [];
  for await (const { message } of task.progress()) heard.push(message);
  for (const text of LONG.slice(0, -1)) {
    assertCut(heard.find((each) => text.startsWith(each?.slice(0, 7) ?? "-")), text);
  }
  assertCut((await pool.activity.detail(task.agentId))?.message, LONG.at(-1) ?? "");
});

onBothGrounds(
  "a record's message over 1,024 bytes is cut at a character and ends with '…'",
  async (ground) => {
    await using stores = await openStores(ground);
    const { brokerUrl, databaseUrl } = stores;
    await using client = new Client({ brokerUrl, databaseUrl });
    await client.migrate();
    for (const text of LONG) {
      const id = await client.activity.create({ taskName: "import", message: text });
      await client.activity.update(id, text);
      await client.activity.complete(id, text);
      const detail = await client.activity.detail(id);
      for (const { message } of detail?.log ?? []) assertCut(message, text);
      assertEquals(detail?.log.length, 3);
    }
  },
);
