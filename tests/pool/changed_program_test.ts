import { Client, Pool } from "@agentexec/core";
import { echo } from "../fixtures/tasks.ts";
import { assertEquals, assertTrue } from "../support/assert.ts";
import { recordLogs } from "../support/pools.ts";
import { CHECKOUT, makeProject } from "../support/projects.ts";
import { onBothGrounds, openStores } from "../support/stores.ts";
import { waitFor } from "../support/wait.ts";

/** A program that declares the fixture pool with these tasks, each of which answers what it is asked. */
function program(...tasks: readonly string[]): string {
  const tasksUrl = new URL("tests/fixtures/tasks.ts", CHECKOUT).href;
  return `import { Pool } from "@agentexec/core";
import { echo } from "${tasksUrl}";
const pool = new Pool({ name: "fixture", queueName: "fixture" });
const declare = {
  echo: () => pool.task(echo, ({ context, attempt }) => ({ text: context.text, attempt })),
  more: () => pool.task("more", () => "more"),
};
${tasks.map((name) => `declare.${name}();`).join("\n")}
`;
}

async function withProgram(
  ground: "servers" | "files",
  body: (parts: {
    readonly pool: Pool;
    readonly change: (text: string) => Promise<void>;
    readonly killWorker: () => void;
  }) => Promise<void>,
): Promise<void> {
  await using stores = await openStores(ground);
  await using stack = new AsyncDisposableStack();
  const folder = await Deno.makeTempDir({ prefix: "agentexec-changed-" });
  stack.defer(() => Deno.remove(folder, { recursive: true }));
  const entrypoint = `${folder}/worker.ts`;
  const change = (text: string) => Deno.writeTextFile(entrypoint, text);
  await change(program("echo"));
  await using pool = new Pool({
    name: "fixture",
    queueName: "fixture",
    brokerUrl: stores.brokerUrl,
    databaseUrl: stores.databaseUrl,
    entrypoint,
    config: new URL("deno.json", CHECKOUT).pathname,
    numWorkers: 1,
  });
  pool.task(echo, ({ context, attempt }) => ({ text: context.text, attempt }));
  await pool.migrate();
  await pool.start();
  await body({ pool, change, killWorker: () => Deno.kill(pool.workers[0]!.pid!, "SIGKILL") });
}

onBothGrounds(
  "a replacement that lacks a task, since the program was changed, is not ready and is started anew until it is",
  async (ground) => {
    await using log = await recordLogs();
    await withProgram(ground, async ({ pool, change, killWorker }) => {
      const refusals = () =>
        log.messages().filter((line) =>
          line.startsWith("Cannot use Worker 0, starting it again: task 'echo' is declared here, ")
        ).length;
      await change(program());
      const states = new Set<string>();
      killWorker();
      await waitFor(() => pool.workers[0]!.restarts > 0, { what: "the replacement" });
      await waitFor(() => {
        states.add(pool.workers[0]!.state);
        return refusals() >= 3;
      }, { what: "three refusals", timeoutMs: 30_000 });
      const task = await pool.enqueue(echo, { text: "afterwards" });
      assertEquals([states.has("ready"), states.has("busy")], [false, false]);
      assertEquals(await task.status(), "queued");
      await change(program("echo"));
      assertEquals(await task.result({ timeout: { seconds: 30 } }), {
        text: "afterwards",
        attempt: 1,
      });
      assertTrue(pool.workers[0]!.restarts >= 3);
    });
  },
);

onBothGrounds(
  "a replacement that declares no pool any more is not ready, and does not keep the pool from stopping",
  async (ground) => {
    await using log = await recordLogs();
    await withProgram(ground, async ({ pool, change, killWorker }) => {
      await change("export {};\n");
      killWorker();
      await waitFor(
        () =>
          log.messages().some((line) =>
            /^Cannot use Worker 0, .* declares no pool of that name in the workers, it declares none;/
              .test(line)
          ),
        { what: "the refusal", timeoutMs: 30_000 },
      );
      assertEquals(["ready", "busy"].includes(pool.workers[0]!.state), false);
      assertEquals(await pool.shutdown(), { drained: true, cutOff: [] });
    });
  },
);

Deno.test("a replacement that declares more than its supervisor is told of, and works", async () => {
  const main = `
if (import.meta.main) {
  await pool.start();
  console.log("pid", pool.workers[0].pid);
  await pool.run();
}
`;
  await using project = await makeProject({ "main.ts": program("echo") + main });
  await using running = await project.run("main.ts", { env: { AGENTEXEC_NUM_WORKERS: "1" } });
  const line = await running.waitForLine(/^pid \d+$/);
  await Deno.writeTextFile(`${project.folder}/main.ts`, program("echo", "more"));
  Deno.kill(Number(line.split(" ")[1]), "SIGKILL");
  await running.waitForLine(/Worker 0 is not as this process: the workers declare 'more', which/);
  await using client = new Client({
    brokerUrl: `sqlite:${project.folder}/.agentexec/broker.db`,
    databaseUrl: `sqlite:${project.folder}/.agentexec/activity.db`,
    queueName: "fixture",
  });
  const task = await client.enqueue(echo, { text: "to the new one" });
  assertEquals((await task.result({ timeout: { seconds: 30 } })).text, "to the new one");
  running.signal("SIGTERM");
  assertEquals((await running.exit).code, 0);
});
