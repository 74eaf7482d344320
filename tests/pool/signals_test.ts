import { Client } from "@agentexec/core";
import { assertEquals, assertTrue } from "../support/assert.ts";
import { die, echo, hold, offspring } from "../fixtures/tasks.ts";
import {
  alive,
  childrenOf,
  type Program,
  PROGRAM_FLAGS,
  runCommand,
  runProgram,
  signalProcess,
} from "../support/processes.ts";
import { type Ground, onBothGrounds, openStores } from "../support/stores.ts";
import { waitFor } from "../support/wait.ts";

/** Stores, a producer, and the environment of the programs that share them. */
async function setUp(ground: Ground) {
  const stores = await openStores(ground);
  const { brokerUrl, databaseUrl } = stores;
  const client = new Client({ brokerUrl, databaseUrl, queueName: "fixture" });
  await client.migrate();
  const env = {
    AGENTEXEC_BROKER_URL: brokerUrl,
    AGENTEXEC_DATABASE_URL: databaseUrl,
    AGENTEXEC_NUM_WORKERS: "2",
  };
  const flags = [...PROGRAM_FLAGS, ...stores.flags];
  return {
    client,
    run: (more: Record<string, string> = {}) =>
      runProgram("pool.ts", { flags, env: { ...env, ...more } }),
    env,
    flags,
    async [Symbol.asyncDispose]() {
      await client.close();
      await stores[Symbol.asyncDispose]();
    },
  };
}

async function running(client: Client, agentId: string): Promise<void> {
  await waitFor(async () => (await client.activity.detail(agentId))?.status === "running", {
    what: `task ${agentId} to run`,
    timeoutMs: 20_000,
  });
}

/** The process that ends what the program leaves behind: the one child whose program is no file. */
function guardianOf(pid: number): number {
  const { stdout } = new Deno.Command("ps", {
    args: ["-ww", "-o", "pid=,args=", "--ppid", `${pid}`],
  })
    .outputSync();
  const line = new TextDecoder().decode(stdout).split("\n").find((each) => each.includes(" data:"));
  return Number.parseInt(line ?? "");
}

/** Every process that the program had started is gone. */
async function nothingLeft(pids: readonly number[]): Promise<void> {
  await waitFor(() => pids.every((pid) => !alive(pid)), { what: `processes ${pids} to be gone` });
}

onBothGrounds(
  "SIGTERM lets a running task complete, then the program ends by itself with exit code 0",
  async (ground) => {
    await using set = await setUp(ground);
    await using program = await set.run();
    const task = await set.client.enqueue(hold, { ms: 2_000 });
    await running(set.client, task.agentId);
    const pids = childrenOf(program.pid);
    assertTrue(pids.length >= 3, "two workers and a guardian");
    program.signal("SIGTERM");
    assertEquals(await program.exit, { code: 0, signal: null });
    assertEquals(await task.status(), "complete");
    await nothingLeft(pids);
  },
);

onBothGrounds("five SIGTERMs within half a second are one stop", async (ground) => {
  await using set = await setUp(ground);
  await using program = await set.run();
  const task = await set.client.enqueue(hold, { ms: 1_500 });
  await running(set.client, task.agentId);
  for (let i = 0; i < 5; i++) {
    program.signal("SIGTERM");
    await program.waitForLine(/Stopping/);
  }
  assertEquals(await program.exit, { code: 0, signal: null });
  assertEquals(await task.status(), "complete");
});

onBothGrounds("one Ctrl+C under deno task lets a task of two seconds complete", async (ground) => {
  await using set = await setUp(ground);
  await using program = await onTerminal(set.env);
  const task = await set.client.enqueue(hold, { ms: 2_000 });
  await running(set.client, task.agentId);
  await program.type("\x03");
  assertEquals((await program.exit).code, 0);
  assertEquals(await task.status(), "complete");
});

onBothGrounds(
  "a second Ctrl+C more than a second after the first forces the stop, and the task is back in the queue",
  async (ground) => {
    await using set = await setUp(ground);
    await using program = await onTerminal(set.env);
    const task = await set.client.enqueue(hold, { ms: 60_000 });
    await running(set.client, task.agentId);
    const pids = childrenOf(program.pid);
    await program.type("\x03");
    await program.waitForLine(/Stopping/);
    const since = performance.now();
    await waitFor(() => performance.now() - since > 1_500, { what: "a second and a half to pass" });
    await program.type("\x03");
    assertEquals((await program.exit).code, 1);
    await nothingLeft(pids);
    assertEquals(await task.status(), "queued");
    assertEquals((await set.client.depth()).waiting, 1);
  },
);

onBothGrounds(
  "SIGTERM while the pool starts ends the program, and leaves no process",
  async (ground) => {
    await using set = await setUp(ground);
    await using program = await set.run();
    const pids = await waitFor(() => {
      const children = childrenOf(program.pid);
      return children.length > 1 ? children : undefined;
    }, { what: "a guardian and a worker" });
    program.signal("SIGTERM");
    assertEquals((await program.exit).signal, null);
    await nothingLeft(pids);
  },
);

onBothGrounds(
  "a supervisor that is stopped leaves another one on its queue untouched",
  async (ground) => {
    await using set = await setUp(ground);
    await using first = await set.run();
    await using second = await set.run();
    await first.waitForLine(/ready/i);
    await second.waitForLine(/ready/i);
    first.signal("SIGTERM");
    assertEquals(await first.exit, { code: 0, signal: null });
    const pids = childrenOf(second.pid);
    const tasks = await set.client.enqueueMany(
      echo,
      Array.from({ length: 20 }, (_, i) => ({ text: `${i}` })),
    );
    for (const task of tasks) await task.result();
    assertEquals(childrenOf(second.pid).sort(), pids.sort());
    second.signal("SIGTERM");
    assertEquals(await second.exit, { code: 0, signal: null });
  },
);

onBothGrounds(
  "after kill -9 of the supervisor no worker and nothing that a handler started is left, spinning or not",
  async (ground) => {
    await using set = await setUp(ground);
    await using program = await set.run({ AGENTS_TEST_RUN: "sleep" });
    const child = await set.client.enqueue(offspring);
    const spinning = await set.client.enqueue(die, { how: "spin" });
    await running(set.client, spinning.agentId);
    const grandchild = await waitFor(async () => {
      const said = (await set.client.activity.detail(child.agentId))?.message ?? "";
      return /^\d+$/.test(said) ? Number(said) : undefined;
    }, { what: "the grandchild's pid", timeoutMs: 20_000 });
    const pids = [...childrenOf(program.pid), grandchild];
    program.signal("SIGKILL");
    await program.exit;
    await nothingLeft(pids);
  },
);

onBothGrounds(
  "kill -9 of the supervisor fails no task whose handler is just writing to standard output",
  async (ground) => {
    await using set = await setUp(ground);
    await using program = await set.run();
    const task = await set.client.enqueue(die, { how: "print" });
    await waitFor(async () => await task.status() === "running", { what: "the task to run" });
    const pids = childrenOf(program.pid);
    const guardian = guardianOf(program.pid);
    // Held, so that the worker itself has all the time that it takes to give the task back.
    signalProcess(guardian, "SIGSTOP");
    program.signal("SIGKILL");
    await program.exit;
    await nothingLeft(pids.filter((pid) => pid !== guardian));
    assertEquals(await task.status(), "queued");
    signalProcess(guardian, "SIGCONT");
    await nothingLeft(pids);
  },
);

onBothGrounds(
  "SIGKILL of everything in the middle of a drain gives its tasks to the next supervisor within 15 s",
  async (ground) => {
    await using set = await setUp(ground);
    await using program = await set.run();
    const task = await set.client.enqueue(hold, { ms: 4_000 });
    await running(set.client, task.agentId);
    program.signal("SIGTERM");
    await program.waitForLine(/Stopping/);
    const pids = childrenOf(program.pid);
    for (const pid of [program.pid, ...pids]) signalProcess(pid, "SIGKILL");
    await program.exit;
    await using next = await set.run();
    await waitFor(async () => {
      const detail = await set.client.activity.detail(task.agentId);
      return detail?.attempt === 2 && detail.status === "running";
    }, { what: "the task to run again", timeoutMs: 40_000 });
    assertEquals(await task.result(), "held");
    next.signal("SIGTERM");
    assertEquals(await next.exit, { code: 0, signal: null });
  },
);

/** The program under `deno task` on a pseudo-terminal, as a developer runs it. */
async function onTerminal(env: Readonly<Record<string, string>>): Promise<Program> {
  const cwd = new URL("../fixtures/task/", import.meta.url);
  const program = await runCommand(["deno", "task", "worker"], { env, tty: true, cwd });
  return program;
}
