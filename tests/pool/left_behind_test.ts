import { assertEquals, assertTrue } from "../support/assert.ts";
import { freePort } from "../support/ports.ts";
import { alive, runCommand, signalProcess } from "../support/processes.ts";
import { EMBEDDED_FLAGS, makeProject } from "../support/projects.ts";
import { waitFor } from "../support/wait.ts";

const PARENT = `
import { Pool } from "@agentexec/core";
const pool = new Pool({ numWorkers: 1, permissions: { run: ["sleep", "sh"] } });
const start = pool.task("start", async () => {
  const child = (detached: boolean) => new Deno.Command("sleep", { args: ["600"], detached }).spawn();
  const shell = new Deno.Command("sh", {
    args: ["-c", "sleep 600 >/dev/null 2>&1 & echo $!"],
    stdout: "piped",
  });
  const grandchild = Number(new TextDecoder().decode((await shell.output()).stdout));
  console.log("started " + JSON.stringify([child(false).pid, grandchild, child(true).pid]));
  await new Promise(() => setInterval(() => {}, 1_000));
});
if (import.meta.main) {
  await pool.start();
  await pool.enqueue(start);
  if (Deno.args[0] === "shutdown") {
    await new Promise((resolve) => Deno.addSignalListener("SIGUSR1", () => resolve(undefined)));
    await pool.shutdown({ timeout: { seconds: 0 } });
    Deno.exit();
  }
}
`;

for (const end of ["shutdown", "kill"] as const) {
  Deno.test(`a ${end} leaves of what a handler started what left its worker's process group, and nothing else`, async () => {
    await using project = await makeProject({ "main.ts": PARENT });
    await using run = await project.run("main.ts", { args: [end] });
    const line = await run.waitForLine(/started \[/);
    const [child = 0, grandchild = 0, detached = 0]: number[] = JSON.parse(
      line.slice(line.indexOf("[", line.indexOf("started"))),
    );
    try {
      assertTrue([child, grandchild, detached].every(alive), run.output);
      run.signal(end === "kill" ? "SIGKILL" : "SIGUSR1");
      await run.exit;
      await waitFor(() => !alive(child) && !alive(grandchild), {
        what: "the end of those in the worker's group",
      });
      assertTrue(alive(detached), "what the README says is left");
    } finally {
      for (const pid of [child, grandchild, detached]) if (pid > 0) signalProcess(pid, "SIGKILL");
    }
  });
}

const SERVED = `
import { Pool } from "@agentexec/core";
const pool = new Pool({ numWorkers: 1 });
const slow = pool.task("slow", async () => {
  console.log("began");
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  console.log("finished");
});
if (import.meta.main) {
  await pool.start({ signals: true });
  await pool.enqueue(slow);
}
export default { fetch: () => new Response("hello") };
`;

Deno.test("under deno serve a signal lets running tasks finish and then ends the program", async () => {
  await using project = await makeProject({ "main.ts": SERVED });
  const address = ["--host", "127.0.0.1", "--port", String(freePort())];
  await using run = await runCommand(
    ["deno", "serve", ...EMBEDDED_FLAGS, ...address, "main.ts"],
    { cwd: project.folder, env: { NO_COLOR: "1" } },
  );
  await run.waitForLine(/began/);
  await run.waitForLine(/Listening/);
  run.signal("SIGTERM");
  assertEquals((await run.exit).signal, null, run.output);
  assertTrue(/finished/.test(run.output), run.output);
});
