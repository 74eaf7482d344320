import { assertEquals, assertMatch } from "./support/assert.ts";
import { runCommand } from "./support/processes.ts";
import { recordLogs, startPool } from "./support/pools.ts";

Deno.test("a producer, bundled, runs on Node and ends by itself", async () => {
  await using _ = await recordLogs();
  await using started = await startPool();
  const dir = await Deno.makeTempDir();
  try {
    const bundle = `${dir}/producer.mjs`;
    const source = new URL("fixtures/producer.ts", import.meta.url).pathname;
    await using bundling = await runCommand(["deno", "bundle", "--quiet", "-o", bundle, source]);
    assertEquals(await bundling.exit, { code: 0, signal: null }, bundling.output);
    await using version = await runCommand(["node", "--version"]);
    await version.exit;
    assertMatch(version.output, /^v(2[0-9]|[3-9]\d)\./m);
    const env = { REDIS_URL: started.redis.url, DATABASE_URL: started.databaseUrl };
    await using node = await runCommand(["node", bundle, "Node"], { env });
    assertEquals(await node.exit, { code: 0, signal: null }, node.output);
    assertEquals(node.stdout.slice(0, 2), [
      '{"result":{"text":"from Node","attempt":1},"last":"complete"}',
      "echo",
    ]);
    if (/^v2[0-1]\./m.test(version.output)) {
      // What it lacks is said, not left to the loader's own words.
      const files = { REDIS_URL: started.redis.url, DATABASE_URL: `sqlite:${dir}/a.db` };
      await using without = await runCommand(["node", bundle, "Node"], { env: files });
      assertEquals((await without.exit).code, 1);
      assertMatch(without.output, /IncompatibleError: .*this runtime has no SQLite.*22\.13/);
    }
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
