/**
 * Eight processes that write to one SQLite file without a pause: how long a write takes while others want the lock too,
 * and that none of them is told that the file is busy. Once on the activity store, once on the broker.
 *
 * Run: `deno run --no-prompt --allow-read --allow-write --allow-env --allow-run=deno bench/sqlite_writers.ts`
 *
 * @module
 */
import { ActivityStore } from "../src/activity/store.ts";
import { SqliteBroker } from "../src/broker/sqlite/sqlite_broker.ts";
import { activityMessages } from "../src/config.ts";

const WRITERS = 8;
const WRITES = 2_000;

type Kind = "activity" | "broker";

async function writeActivities(path: string): Promise<number[]> {
  const address = { kind: "sqlite", url: `sqlite:${path}`, path } as const;
  const store = new ActivityStore({
    address,
    tablePrefix: "agentexec_",
    messages: activityMessages(),
  });
  await store.connect();
  await store.migrate();
  const agentId = crypto.randomUUID();
  const row = { agentId, taskName: "bench", queue: "bench", brokerId: agentId };
  await store.insertTasks([{ ...row, context: null, metadata: "{}" }]);
  await store.write({ agentId, token: "1", status: "running" });
  const times = await timed((n) => store.write({ agentId, token: "1", message: `${n}` }));
  await store.close();
  return times;
}

async function enqueueTasks(path: string): Promise<number[]> {
  const broker = new SqliteBroker(path);
  await broker.connect();
  const queue = broker.queue("bench");
  await queue.open();
  const times = await timed(() =>
    queue.enqueue([{ id: crypto.randomUUID(), name: "bench", payload: "" }])
  );
  await broker.close();
  return times;
}

async function timed(write: (n: number) => Promise<unknown>): Promise<number[]> {
  const times: number[] = [];
  for (let n = 0; n < WRITES; n++) {
    const from = performance.now();
    await write(n);
    times.push(performance.now() - from);
  }
  return times;
}

/** Runs all writers of a kind at once; each is a process of its own and prints its times. */
async function measure(kind: Kind, path: string): Promise<void> {
  const outputs = await Promise.all(
    Array.from({ length: WRITERS }, () =>
      new Deno.Command("deno", {
        args: [
          "run",
          "--no-prompt",
          "--allow-read",
          "--allow-write",
          "--allow-env",
          import.meta.filename ?? "",
          kind,
          path,
        ],
        stderr: "inherit",
      }).output()),
  );
  if (outputs.some(({ success }) => !success)) throw new Error(`A writer of ${kind} failed`);
  const times = outputs.flatMap(({ stdout }) => JSON.parse(new TextDecoder().decode(stdout)))
    .sort((a: number, b: number) => a - b);
  const at = (share: number) => times[Math.floor((times.length - 1) * share)].toFixed(1);
  console.log(
    `${kind}, ${WRITERS} writers × ${WRITES}: median ${at(0.5)} ms, 99 % ${at(0.99)} ms, longest ${
      at(1)
    } ms`,
  );
}

const [kind, path] = Deno.args;
if (kind !== undefined && path !== undefined) {
  const times = kind === "activity" ? await writeActivities(path) : await enqueueTasks(path);
  console.log(JSON.stringify(times));
} else {
  const folder = await Deno.makeTempDir({ prefix: "agentexec-bench-" });
  try {
    await measure("activity", `${folder}/activity.db`);
    await measure("broker", `${folder}/broker.db`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
