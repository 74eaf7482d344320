import { assertEquals, assertTrue } from "../support/assert.ts";

const ROOM = new URL("../../src/broker/sqlite/", import.meta.url);
const MOVES =
  /(insert into|delete from) agentexec_broker_task|update agentexec_broker_task(?:(?!where)[^`"])*\bstate *=/;

Deno.test("no statement but those of the door says where a task stands in the file", async () => {
  const elsewhere: string[] = [];
  for await (const { name } of Deno.readDir(ROOM)) {
    const moves = MOVES.test(await Deno.readTextFile(new URL(name, ROOM)));
    if (name === "places.ts") assertTrue(moves, "the door was not found");
    else if (moves) elsewhere.push(name);
  }
  assertEquals(elsewhere, []);
});
