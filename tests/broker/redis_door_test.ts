import { assertEquals } from "../support/assert.ts";

const SCRIPTS = new URL("../../src/broker/redis/scripts/", import.meta.url);
/** What puts an entry into one of these, or takes it out. */
const MOVES =
  /'(LPUSH|RPUSH|LREM|LPOP|RPOP|ZADD|ZREM|SADD|SREM|SMOVE|LINSERT|LSET)', *(Q|DELAYED|CLAIMS|NEWER|OWNER)\b/;

Deno.test("no script but the prelude puts a task's id anywhere or takes it away", async () => {
  const elsewhere: string[] = [];
  for await (const { name } of Deno.readDir(SCRIPTS)) {
    const text = await Deno.readTextFile(new URL(name, SCRIPTS));
    const moves = text.split("\n").filter((line) => MOVES.test(line));
    if (name === "prelude.ts") assertEquals(moves.length > 5, true);
    else elsewhere.push(...moves.map((line) => `${name}: ${line.trim()}`));
  }
  assertEquals(elsewhere, []);
});
