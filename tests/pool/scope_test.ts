import { TaskFailedError } from "@agentexec/core";
import { assertEquals, assertMatch, assertRejects } from "../support/assert.ts";
import { reach, rights } from "../fixtures/tasks.ts";
import { poolTest, recordLogs, startPool } from "../support/pools.ts";

/** The host of a server that answers every request. */
function startTarget() {
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen: () => {} },
    () => new Response("hi"),
  );
  const host = `127.0.0.1:${server.addr.port}`;
  return { host, [Symbol.asyncDispose]: () => server.shutdown() };
}

poolTest(
  "a handler without a grant fails with a message that names the permission it lacks",
  async (startPool) => {
    await using _ = await recordLogs();
    await using target = startTarget();
    await using started = await startPool();
    const { pool } = started;
    const cases: [string, string, RegExp][] = [
      [
        "read",
        "/etc/passwd",
        /NotCapable: Requires read access to "\/etc\/passwd"[\s\S]*permissions: \{ read: /,
      ],
      [
        "write",
        "/tmp/agentexec-denied",
        /NotCapable: Requires write access[\s\S]*permissions: \{ write: /,
      ],
      [
        "net",
        `http://${target.host}/`,
        /NotCapable: Requires net access to "127\.0\.0\.1:\d+"[\s\S]*permissions: \{ net: /,
      ],
      ["run", "sh", /NotCapable: Requires run access to "sh"[\s\S]*permissions: \{ run: /],
      [
        "ffi",
        "/usr/lib/x86_64-linux-gnu/libc.so.6",
        /NotCapable: Requires ffi access[\s\S]*permissions: \{ ffi: /,
      ],
      ["sys", "", /NotCapable: Requires sys access to "hostname"[\s\S]*permissions: \{ sys: /],
    ];
    for (const [what, where, pattern] of cases) {
      const task = await pool.enqueue(reach, { what, where });
      const error = await assertRejects(() => task.result(), TaskFailedError);
      const detail = await pool.activity.detail(task.agentId);
      assertMatch(`${error.message}\n${detail?.error}`, pattern);
    }
  },
);

poolTest(
  "an ungranted variable reads undefined, and the error that follows from it names the grant",
  async (startPool) => {
    const name = "AGENTS_TEST_SECRET";
    Deno.env.set(name, "s3cret");
    try {
      await using _ = await recordLogs();
      await using started = await startPool();
      const { pool } = started;
      const read = await pool.enqueue(reach, { what: "env", where: name });
      assertEquals(await read.result(), null);
      const needed = await pool.enqueue(reach, { what: "env required", where: name });
      const error = await assertRejects(() => needed.result(), TaskFailedError);
      assertMatch(
        error.message,
        /AGENTS_TEST_SECRET is set here but not granted: permissions: \{ env: \["AGENTS_TEST_SECRET"\] \}/,
      );
    } finally {
      Deno.env.delete(name);
    }
  },
);

poolTest("what a list grants works, and only that", async (startPool) => {
  const name = "AGENTS_TEST_GRANTED";
  const dir = await Deno.makeTempDir();
  Deno.env.set(name, "yes");
  try {
    await Deno.writeTextFile(`${dir}/in.txt`, "inside");
    await using _ = await recordLogs();
    await using target = startTarget();
    await using started = await startPool({
      permissions: {
        read: [dir],
        write: [dir],
        net: [target.host],
        env: [name],
        run: ["sh"],
        sys: ["hostname"],
      },
    });
    const { pool } = started;
    const granted: [string, string, unknown][] = [
      ["read", `${dir}/in.txt`, "inside"],
      ["write", `${dir}/out.txt`, null],
      ["net", `http://${target.host}/`, 200],
      ["env", name, "yes"],
      ["run", "sh", true],
      ["node run", "sh", "ran"],
      ["sys", "", Deno.hostname()],
    ];
    for (const [what, where, expected] of granted) {
      const task = await pool.enqueue(reach, { what, where });
      assertEquals(await task.result() ?? null, expected, `${what} ${where}`);
    }
    const refused = await pool.enqueue(reach, { what: "read", where: "/etc/passwd" });
    await assertRejects(() => refused.result(), TaskFailedError);
  } finally {
    Deno.env.delete(name);
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("a worker's effective rights are its pool's lists and the addresses of its stores", async () => {
  await using _ = await recordLogs();
  await using started = await startPool({
    permissions: { read: ["/srv/data"], net: ["example.com:443"] },
  });
  const { pool, redis } = started;
  const queries: [Record<string, string>, string][] = [
    [{ name: "read" }, "prompt"],
    [{ name: "read", path: "/srv/data/x" }, "granted"],
    [{ name: "read", path: "/srv" }, "prompt"],
    [{ name: "write" }, "prompt"],
    [{ name: "net" }, "prompt"],
    [{ name: "net", host: "example.com:443" }, "granted"],
    [{ name: "net", host: "example.com:80" }, "prompt"],
    [{ name: "net", host: `127.0.0.1:${redis.port}` }, "granted"],
    [{ name: "run" }, "prompt"],
    [{ name: "ffi" }, "prompt"],
    [{ name: "sys" }, "prompt"],
    [{ name: "sys", kind: "hostname" }, "prompt"],
    [{ name: "env", variable: "HOME" }, "ignored"],
  ];
  const task = await pool.enqueue(rights, { queries: queries.map(([query]) => query) });
  const states = await task.result();
  for (const [index, [query, expected]] of queries.entries()) {
    const state = states[index];
    // What is not granted may be called "prompt" or "denied": `--no-prompt` makes both a refusal.
    const shown = expected === "granted" ? state : state === "granted" ? "granted" : expected;
    assertEquals(shown, expected, `${JSON.stringify(query)}: ${state}`);
  }
});

poolTest(
  "code that is not in the cache cannot be loaded, whatever it is imported from",
  async (startPool) => {
    await using _ = await recordLogs();
    await using target = startTarget();
    await using started = await startPool();
    for (
      const where of [`http://${target.host}/mod.ts`, "npm:left-pad@1.0.0", "jsr:@std/bytes@1.0.0"]
    ) {
      const task = await started.pool.enqueue(reach, { what: "import", where });
      await assertRejects(() => task.result(), TaskFailedError);
    }
  },
);
