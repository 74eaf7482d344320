import { ChildProcess } from "../../src/process/child.ts";
import { Guardian } from "../../src/process/guardian.ts";
import { assertEquals, assertTrue } from "../support/assert.ts";
import { alive, groupOf } from "../support/processes.ts";
import { waitFor } from "../support/wait.ts";

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

for (const standalone of [false, true]) {
  const kind = standalone ? "a shell's" : "Deno's";

  Deno.test(`${kind} guardian kills a whole group on demand and says when it is done`, async () => {
    const guardian = await Guardian.start({ deno: Deno.execPath(), standalone, warn: () => {} });
    const { child, grandchild } = await startFamily();
    guardian.add(child.pid);
    await guardian.killGroup(child.pid);
    assertEquals((await child.exited).signal, "SIGKILL");
    await waitFor(() => !alive(grandchild), { what: "the grandchild to be gone" });
    guardian.remove(child.pid);
    await guardian.close();
  });

  Deno.test(`${kind} guardian that ends is followed by one that knows every living group`, async () => {
    const warnings: string[] = [];
    const guardian = await Guardian.start({
      deno: Deno.execPath(),
      standalone,
      warn: (message) => warnings.push(message),
    });
    const { child, grandchild } = await startFamily();
    guardian.add(child.pid);
    const first = guardian.pid;
    Deno.kill(first!, "SIGKILL");
    await waitFor(() => guardian.pid !== first, { what: "another guardian" });
    await guardian.killGroup(child.pid);
    await child.exited;
    await waitFor(() => !alive(grandchild), { what: "the grandchild to be gone" });
    assertTrue(warnings.some((line) => line.includes("starting another")));
    guardian.remove(child.pid);
    await guardian.close();
  });

  Deno.test(`${kind} guardian kills the groups that it still holds when its input ends, and ends itself`, async () => {
    const guardian = await Guardian.start({ deno: Deno.execPath(), standalone, warn: () => {} });
    const { child, grandchild } = await startFamily();
    guardian.add(child.pid);
    const pid = guardian.pid!;
    await guardian.close();
    await child.exited;
    await waitFor(() => !alive(grandchild) && groupOf(child.pid).length === 0, {
      what: "the group to be gone",
    });
    assertTrue(!alive(pid));
  });
}

Deno.test("a kill of a group that is gone is acknowledged too", async () => {
  const guardian = await Guardian.start({
    deno: Deno.execPath(),
    standalone: false,
    warn: () => {},
  });
  const { child } = await startFamily();
  await guardian.killGroup(child.pid);
  await child.exited;
  await guardian.killGroup(child.pid);
  await guardian.close();
});

Deno.test("where no guardian can be started, the supervisor is told and kills the process itself", async () => {
  const warnings: string[] = [];
  const guardian = await Guardian.start({
    deno: "/does/not/exist",
    standalone: false,
    warn: (message) => warnings.push(message),
  });
  const { child, grandchild } = await startFamily();
  guardian.add(child.pid);
  await guardian.killGroup(child.pid);
  assertEquals((await child.exited).signal, "SIGKILL");
  assertTrue(warnings.some((line) => line.includes("can outlive")));
  Deno.kill(grandchild, "SIGKILL");
  await guardian.close();
});
