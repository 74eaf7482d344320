import { supervisorLogger, taskLog, taskLogger, workerLogger } from "../../src/log/loggers.ts";
import { assertEquals } from "../support/assert.ts";
import { collectRecords } from "./support.ts";

const RUN = { id: "id-1", name: "research_company", attempt: 2 };
const FACTS = { taskName: "research_company", agentId: "id-1", attempt: 2 };

Deno.test("the lines of a run say which run it is, each at its level", () => {
  using collected = collectRecords();
  const log = taskLogger(RUN);
  log.info("Processing task: research_company");
  log.info("Task completed: research_company");
  log.error("Task failed: TypeError: x");
  assertEquals(collected.records.map(({ level }) => level), ["info", "info", "error"]);
  for (const record of collected.records) {
    assertEquals(record.category, ["agentexec", "worker"]);
    assertEquals(record.properties, FACTS);
  }
});

Deno.test("the library's lines are literal text: a brace in an error is a brace", () => {
  using collected = collectRecords();
  workerLogger().warn('bad {thing} in {"json": 1}');
  supervisorLogger("urgent").error("{*}");
  assertEquals(collected.texts(), ['bad {thing} in {"json": 1}', "{*}"]);
  assertEquals(collected.records[1]?.category, ["agentexec", "pool"]);
  assertEquals(collected.records[1]?.properties, { pool: "urgent" });
});

Deno.test("a handler's log fills placeholders from properties and else takes the text as it is", () => {
  using collected = collectRecords();
  const log = taskLog(RUN);
  log.info("literal {brace}");
  log.warn("found {count}", { count: 3 });
  log.debug("d");
  log.error("e", { agentId: "another" });
  assertEquals(collected.texts(), ["literal {brace}", "found 3", "d", "e"]);
  assertEquals(collected.records.map(({ level }) => level), ["info", "warning", "debug", "error"]);
  assertEquals(collected.records[1]?.rawMessage, "found {count}");
  assertEquals(collected.records[1]?.properties, { count: 3, ...FACTS });
  assertEquals(collected.records[3]?.properties, FACTS);
  assertEquals(collected.records[0]?.category, ["agentexec", "task"]);
});

Deno.test("loggers made before LogTape is configured log by the later configuration", () => {
  const log = workerLogger();
  const task = taskLog(RUN);
  log.info("to nobody");
  using collected = collectRecords();
  log.info("kept");
  task.info("kept {too}", { too: "also" });
  assertEquals(collected.texts(), ["kept", "kept also"]);
});
