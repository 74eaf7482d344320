import { Client, ConnectionError } from "@agentexec/core";
import { assertEquals, assertRejects } from "../support/assert.ts";
import { PROGRAM_FLAGS, runProgram } from "../support/processes.ts";

Deno.test("a client says that another process keeps the broker's file locked", async () => {
  const dir = await Deno.makeTempDir({ prefix: "agentexec-locked-" });
  try {
    const file = `${dir}/broker.db`;
    await using client = new Client({
      brokerUrl: `sqlite:${file}`,
      databaseUrl: `sqlite:${dir}/activity.db`,
    });
    const flags = [...PROGRAM_FLAGS, "--no-check", "--allow-write"];
    await using other = await runProgram("sqlite_lock.ts", { args: [file], flags });
    await other.waitForLine(/locked/);
    const error = await assertRejects(() => client.depth(), ConnectionError);
    assertEquals(
      error.message,
      `Cannot open the broker at sqlite:${file}: another process has it locked (database is locked)`,
    );
    assertEquals(error.retryable, true);
    await other.closeStdin();
    await other.exit;
    assertEquals((await client.depth()).waiting, 0);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
