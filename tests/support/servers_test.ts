import { createClient } from "@redis/client";
// @ts-types="@types/pg"
import { Client } from "pg";
import { assertEquals, assertMatch, assertRejects, assertTrue } from "./assert.ts";
import { stressLifecycle } from "./lifecycle.ts";
import { alive, childrenOf, runCommand, runProgram } from "./processes.ts";
import {
  sharedPostgres,
  sharedRedisUrl,
  startPgBouncer,
  startPostgres,
  startRedis,
} from "./servers.ts";
import { waitFor } from "./wait.ts";

/** Gives a Redis command and returns the answer. */
async function redis(url: string, ...command: string[]): Promise<unknown> {
  const client = await createClient({ url, socket: { reconnectStrategy: false } }).connect();
  try {
    return await client.sendCommand(command);
  } finally {
    client.destroy();
  }
}

/** Runs a query and returns the first column of its first row. */
async function query(url: string, text: string): Promise<unknown> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query({ text, rowMode: "array" });
    return rows[0]?.[0];
  } finally {
    await client.end();
  }
}

Deno.test("startRedis() gives a server that keeps port and data through kill() and restart()", async () => {
  await using server = await startRedis({ args: ["--maxmemory", "64mb"] });
  assertEquals(await redis(server.url, "SET", "key", "value"), "OK");
  assertMatch(String(await redis(server.url, "INFO", "memory")), /maxmemory:67108864/);
  const { pid, url } = server;
  await server.kill();
  assertEquals(alive(pid), false);
  await server.restart();
  assertEquals(server.url, url);
  assertEquals(await redis(server.url, "GET", "key"), "value");
  await server.restart();
  assertEquals(await redis(server.url, "GET", "key"), "value");
});

Deno.test("a paused server answers nothing until it is resumed", async () => {
  await using server = await startRedis();
  server.pause();
  let answered = false;
  const answer = redis(server.url, "PING").finally(() => answered = true);
  const state = new Deno.Command("sh", { args: ["-c", `cat /proc/${server.pid}/stat`] });
  if (Deno.build.os === "linux") {
    await waitFor(async () => {
      return new TextDecoder().decode((await state.output()).stdout).includes(") T ");
    }, { what: "the server to be stopped" });
  }
  assertEquals(answered, false);
  server.resume();
  assertEquals(await answer, "PONG");
});

Deno.test("the end of a server removes its folder and its processes", async () => {
  let dir: string;
  let pids: number[];
  {
    await using server = await startPostgres();
    dir = server.dir;
    pids = [server.pid, ...childrenOf(server.pid)];
    assertTrue(pids.length > 1);
    server.pause();
  }
  assertEquals(pids.filter(alive), []);
  await assertRejects(() => Deno.stat(dir), Deno.errors.NotFound);
});

Deno.test("startPostgres() gives a server whose databases survive kill() and restart()", async () => {
  await using server = await startPostgres();
  await using database = await server.freshDatabase();
  await query(database.url, "create table t as select 7 as n");
  await server.kill();
  await server.restart();
  assertEquals(await query(database.url, "select n from t"), 7);
});

Deno.test("startPgBouncer() stands before a database in transaction mode", async () => {
  await using database = await sharedPostgres().freshDatabase();
  await using bouncer = await startPgBouncer(database.url);
  assertEquals(await query(bouncer.url, "select current_database()"), database.name);
  const admin = new URL(bouncer.url);
  admin.pathname = "/pgbouncer";
  const client = new Client({ connectionString: admin.href });
  await client.connect();
  try {
    const { rows } = await client.query("show config");
    assertEquals(rows.find((row) => row.key === "pool_mode")?.value, "transaction");
  } finally {
    await client.end();
  }
});

Deno.test("the shared servers serve, and fresh databases are dropped at the end", async () => {
  assertEquals(await redis(sharedRedisUrl(), "PING"), "PONG");
  let name: string;
  {
    await using database = await sharedPostgres().freshDatabase();
    name = database.name;
    assertEquals(await query(database.url, "select current_database()"), name);
  }
  const { url } = sharedPostgres();
  assertEquals(
    await query(url, `select count(*)::int from pg_database where datname = '${name}'`),
    0,
  );
});

Deno.test("nothing is left of servers and programs whose test run is killed", async () => {
  const program = await runProgram("support/owner.ts", {
    flags: [
      ...["--no-prompt", "--allow-env", "--allow-net=127.0.0.1", "--allow-read"],
      ...["--allow-run", "--allow-sys", `--allow-write=${Deno.env.get("TMPDIR") ?? "/tmp"}`],
    ],
  });
  await using _ = program;
  const line = await program.waitForLine(/^owned /);
  const owned: { readonly pids: number[]; readonly dirs: string[] } = JSON.parse(line.slice(6));
  const pids = owned.pids.flatMap((pid) => [pid, ...childrenOf(pid)]);
  assertEquals(owned.pids.filter((pid) => !alive(pid)), []);
  program.signal("SIGKILL");
  await waitFor(() => !pids.some(alive), { what: `the processes ${pids} to end` });
  for (const dir of owned.dirs) {
    await waitFor(() => Deno.stat(dir).then(() => false, () => true), { what: `${dir} to go` });
  }
});

Deno.test("runProgram() says how a program ended and what it wrote when a line does not come", async () => {
  await using program = await runCommand(["sh", "-c", "echo hello; echo oops >&2; exit 4"]);
  assertEquals(await program.waitForLine(/^hel/), "hello");
  const error = await assertRejects(() => program.waitForLine(/never/), Error);
  assertMatch(error.message, /it ended \(4\)/);
  assertMatch(error.message, /oops/);
  assertEquals(await program.exit, { code: 4, signal: null });
  assertEquals(program.stderr, ["oops"]);
});

Deno.test("a program on a terminal gets Ctrl+C as its foreground group does", async () => {
  const script =
    `trap 'echo got it; exit 5' INT; test -t 0 && echo terminal; while :; do sleep 0.1; done`;
  await using program = await runCommand(["sh", "-c", script], { tty: true });
  await program.waitForLine(/^terminal/);
  await program.type("\x03");
  assertEquals((await program.exit).code, 5);
  assertMatch(program.output, /got it/);
});

Deno.test("a program that is disposed of takes its whole family along", async () => {
  let pids: number[];
  {
    await using program = await runCommand([
      "sh",
      "-c",
      "setsid sleep 100 & sleep 100 & echo up; wait",
    ]);
    await program.waitForLine(/up/);
    pids = await waitFor(() => {
      const family = childrenOf(program.pid);
      return family.length === 2 && [program.pid, ...family];
    }, { what: "two children" });
  }
  assertEquals(pids.filter(alive), []);
});

Deno.test("waitFor() names what it waited for and what it saw last", async () => {
  const wrong = await assertRejects(
    () => waitFor(() => 0, { what: "a number over zero", timeoutMs: 30 }),
    Error,
  );
  assertMatch(wrong.message, /30 ms in vain for a number over zero: the last value was 0/);
  const thrown = await assertRejects(
    () => waitFor(() => Promise.reject(new TypeError("no")), { what: "peace", timeoutMs: 30 }),
    Error,
  );
  assertMatch(thrown.message, /for peace: the last attempt threw TypeError: no/);
  const silent = await assertRejects(
    () => waitFor(() => new Promise(() => {}), { what: "an answer", timeoutMs: 30 }),
    Error,
  );
  assertMatch(silent.message, /for an answer: the condition did not answer/);
});

Deno.test("stressLifecycle() passes a part that keeps its promises, and leaves none running", async () => {
  let running = 0;
  await stressLifecycle(() => {
    let on = false;
    const stop = () => {
      if (on) running--;
      on = false;
      return Promise.resolve();
    };
    return {
      start: () => {
        on = true;
        running++;
        return Promise.resolve();
      },
      stop,
      [Symbol.asyncDispose]: stop,
    };
  });
  assertEquals(running, 0);
});
