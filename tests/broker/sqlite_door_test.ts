import {
  claim,
  contractTest,
  crew,
  only,
  register,
  sweepUntilTaken,
  task,
} from "../contract/broker/bench.ts";
import { assertEquals, assertTrue } from "../support/assert.ts";
import { rawSqlite } from "./sqlite_audit.ts";
import { sqliteContract } from "./sqlite_ground.ts";

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

contractTest(
  sqliteContract("SqliteBroker"),
  "a task that an older version gave back although it is to be canceled is the next sweep's to end",
  async (queue, bench) => {
    const [worker, sweeper] = [crew(), crew()];
    await register(queue, worker);
    const [marked, other] = [task(), task()];
    await queue.enqueue([marked, other]);
    {
      using database = rawSqlite(bench.ground.url.slice("sqlite:".length));
      database.prepare("update agentexec_broker_task set cancel = 1 where id = ?").run(marked.id);
    }
    const claims = [
      ...(await claim(queue, worker.workerIds[0], { slots: 9 })).claims,
      ...(await claim(queue, worker.workerIds[0], { slots: 9, holding: [other.id] })).claims,
    ];
    assertEquals(claims.map(({ id }) => id), [other.id]);
    const swept = only(await sweepUntilTaken(queue, sweeper));
    assertEquals([swept.id, swept.outcome], [marked.id, "canceled"]);
    assertEquals(await queue.end(swept), "done");
  },
);
