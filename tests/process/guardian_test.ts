import { ChildProcess } from "../../src/process/child.ts";
import { Guardian } from "../../src/process/guardian.ts";
import { assertEquals, assertTrue } from "../support/assert.ts";
import { alive, groupOf, runCommand } from "../support/processes.ts";
import { waitFor, within } from "../support/wait.ts";

/** A process that spins, with a child of its own. */
async function startFamily() {
  const lines: string[] = [];
  const child = new ChildProcess({
    command: Deno.execPath(),
    args: ["run", "--allow-run=sleep", new URL("fixtures/family.ts", import.meta.url).pathname],
    env: { PATH: Deno.env.get("PATH") ?? "" },
    firstLine: "",
    onOutput: (_, line) => lines.push(line),
  });
  const grandchild = Number(await waitFor(() => lines[0], { what: "the grandchild's pid" }));
  return { child, grandchild };
}

/** A guardian that has got as far as to answer: within two seconds it may not, on a busy machine. */
async function startGuardian({ standalone }: { readonly standalone: boolean }) {
  const warnings: string[] = [];
  const guardian = await Guardian.start({
    deno: Deno.execPath(),
    standalone,
    warn: (message) => warnings.push(message),
  });
  await answering(guardian, warnings);
  return { guardian, warnings };
}

async function answering(guardian: Guardian, warnings: readonly string[]): Promise<void> {
  await waitFor(async () => {
    const before = warnings.length;
    await guardian.killGroup(2 ** 30);
    return warnings.length === before;
  }, { what: "the guardian to answer" });
}

for (const standalone of [false, true]) {
  const kind = standalone ? "a shell's" : "Deno's";

  Deno.test(`${kind} guardian kills a whole group on demand and says when it is done`, async () => {
    const { guardian } = await startGuardian({ standalone });
    const { child, grandchild } = await startFamily();
    guardian.add(child.pid, child);
    await guardian.killGroup(child.pid);
    assertEquals((await child.exited).signal, "SIGKILL");
    await waitFor(() => !alive(grandchild), { what: "the grandchild to be gone" });
    guardian.remove(child.pid);
    await guardian.close();
  });

  Deno.test(`${kind} guardian that ends is followed by one that knows every living group`, async () => {
    const { guardian, warnings } = await startGuardian({ standalone });
    const { child, grandchild } = await startFamily();
    guardian.add(child.pid, child);
    const first = guardian.pid;
    Deno.kill(first!, "SIGKILL");
    await waitFor(() => guardian.pid !== first, { what: "another guardian" });
    await answering(guardian, warnings);
    await guardian.killGroup(child.pid);
    await within(child.exited, { what: "the child to be killed" });
    await waitFor(() => !alive(grandchild), { what: "the grandchild to be gone" });
    assertTrue(warnings.some((line) => line.includes("starting another")));
    guardian.remove(child.pid);
    await guardian.close();
  });

  Deno.test(`${kind} guardian kills the groups that it still holds when its input ends, and ends itself`, async () => {
    const { guardian } = await startGuardian({ standalone });
    const { child, grandchild } = await startFamily();
    guardian.add(child.pid, child);
    const pid = guardian.pid!;
    await guardian.close();
    await within(child.exited, { what: "the child to be killed" });
    await waitFor(() => !alive(grandchild) && groupOf(child.pid).length === 0, {
      what: "the group to be gone",
    });
    assertTrue(!alive(pid));
  });
}

Deno.test("a kill of a group that is gone is acknowledged too", async () => {
  const { guardian } = await startGuardian({ standalone: false });
  const { child } = await startFamily();
  await guardian.killGroup(child.pid);
  await within(child.exited, { what: "the child to be killed" });
  await guardian.killGroup(child.pid);
  await guardian.close();
});

const GUARDED = new URL("fixtures/guarded.ts", import.meta.url).pathname;

/** A supervisor as it is to be run: it may start Deno and nothing else. */
function runGuarded(...args: string[]) {
  const flags = ["--no-prompt", `--allow-run=${Deno.execPath()}`];
  const path = Deno.env.get("PATH") ?? "";
  return runCommand([Deno.execPath(), "run", ...flags, GUARDED, path, ...args]);
}

Deno.test("after SIGKILL of a supervisor that may run Deno alone, worker, grandchild and guardian are gone", async () => {
  await using supervisor = await runGuarded();
  const { guardian, child, grandchild } = JSON.parse(await supervisor.waitForLine(/^\{/));
  assertTrue([guardian, child, grandchild].every(alive));
  supervisor.signal("SIGKILL");
  assertEquals((await supervisor.exit).signal, "SIGKILL");
  await waitFor(() => [child, grandchild, guardian].every((pid) => !alive(pid)), {
    what: "worker, grandchild and guardian to be gone",
  });
});

Deno.test("a guardian outlives the signals that a terminal sends", async () => {
  const { guardian } = await startGuardian({ standalone: false });
  const { child, grandchild } = await startFamily();
  guardian.add(child.pid, child);
  const pid = guardian.pid!;
  // It ignores them from its first line on, which it has run since it answers.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) Deno.kill(pid, signal);
  await guardian.killGroup(child.pid);
  await within(child.exited, { what: "the child to be killed" });
  await waitFor(() => !alive(grandchild), { what: "the grandchild to be gone" });
  assertEquals(guardian.pid, pid);
  assertTrue(alive(pid));
  guardian.remove(child.pid);
  await guardian.close();
});

Deno.test("where a guardian does not answer, the worker itself is killed, and close() does not wait for ever", async () => {
  const { guardian, warnings } = await startGuardian({ standalone: false });
  const { child, grandchild } = await startFamily();
  guardian.add(child.pid, child);
  Deno.kill(guardian.pid!, "SIGSTOP");
  await guardian.killGroup(child.pid);
  assertEquals((await child.exited).signal, "SIGKILL");
  assertTrue(warnings.some((line) => line.includes("did not answer")));
  guardian.remove(child.pid);
  await guardian.close();
  Deno.kill(grandchild, "SIGKILL");
});

Deno.test("where no guardian can be started, a supervisor that may run Deno alone kills the worker itself and warns", async () => {
  await using supervisor = await runGuarded("no guardian");
  const { child, grandchild } = JSON.parse(await supervisor.waitForLine(/^\{/));
  await supervisor.waitForLine(/can outlive their worker/);
  await supervisor.waitForLine(/^SIGKILL$/);
  assertEquals(await supervisor.exit, { code: 0, signal: null });
  assertTrue(!alive(child));
  Deno.kill(grandchild, "SIGKILL");
});
