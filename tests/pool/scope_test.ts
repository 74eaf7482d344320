import { TaskFailedError } from "@agentexec/core";
import { assertEquals, assertMatch, assertRejects, assertTrue } from "../support/assert.ts";
import { die, reach, rights } from "../fixtures/tasks.ts";
import { fixture, makePool, poolTest, recordLogs, startPool } from "../support/pools.ts";
import { EMBEDDED_FLAGS, makeProject } from "../support/projects.ts";
import { waitFor } from "../support/wait.ts";

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

/** A `deno` on the path that starts the real one with more than it was asked for. */
async function generousDeno(flag: string) {
  const folder = await Deno.makeTempDir();
  await Deno.writeTextFile(
    `${folder}/deno`,
    `#!/bin/sh\nshift\nexec '${Deno.execPath()}' run ${flag} "$@"\n`,
    { mode: 0o755 },
  );
  return { folder, [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }) };
}

const SCOPED = `
import { Pool } from "@agentexec/core";
const pool = new Pool({ numWorkers: 1, permissions: { sys: ["hostname"] } });
pool.task("greet", () => "hello");
if (import.meta.main) await pool.run();
`;

for (const kind of ["run", "ffi", "sys"]) {
  Deno.test(`a worker that may do all of ${kind}, and not by its pool's grant, refuses to start`, async () => {
    // Beside a list of the same kind Deno takes no second flag: the list goes.
    const flag = kind === "sys" ? "--allow-sys" : `--allow-${kind}`;
    await using deno = await generousDeno(flag);
    if (kind === "sys") {
      await Deno.writeTextFile(
        `${deno.folder}/deno`,
        `#!/bin/sh\nfor each; do shift; case "$each" in --allow-sys=*) each=--allow-sys;; esac; ` +
          `set -- "$@" "$each"; done\nexec '${Deno.execPath()}' "$@"\n`,
      );
    }
    await using project = await makeProject({ "main.ts": SCOPED });
    await using run = await project.run("main.ts", {
      env: { PATH: `${deno.folder}:${Deno.env.get("PATH")}` },
      flags: EMBEDDED_FLAGS,
    });
    assertEquals((await run.exit).code, 1, run.output);
    assertMatch(
      run.output,
      new RegExp(
        `this process may do all of '${kind}', its pool grants ${
          kind === "sys" ? "hostname" : "nothing of it"
        }`,
      ),
    );
    // One line of the log, and the error that ends the program.
    const told = run.output.split("\n").filter((line) => line.includes("may do all of"));
    assertEquals(told.length, 2, run.output);
  });
}

Deno.test("a pool without tasks, and a granted variable that is not set, warn at the start", async () => {
  await using log = await recordLogs();
  await using made = await makePool({
    entrypoint: fixture("no_tasks.ts"),
    permissions: { env: ["AGENTS_TEST_NOT_SET", "PATH"] },
  });
  await made.pool.start();
  const warnings = log.records.filter((each) => each.level === "warning")
    .map((each) => each.message.join(""));
  assertEquals(warnings.filter((line) => line.includes("AGENTS_TEST_NOT_SET")), [
    "permissions.env names AGENTS_TEST_NOT_SET, which is not set here: it reads undefined in the workers",
  ]);
  assertEquals(warnings.filter((line) => /has no tasks/.test(line)).length, 1, warnings.join("\n"));
  assertTrue(!warnings.some((line) => line.includes("names PATH")));
});

Deno.test("an uncaught error of a worker arrives without colour codes", async () => {
  await using log = await recordLogs();
  await using started = await startPool();
  await started.pool.enqueue(die, { how: "rejection" });
  const line = await waitFor(
    () =>
      log.messages().find((each) => each.includes("Uncaught") && each.includes("nobody caught")),
    { what: "the uncaught error" },
  );
  assertTrue(!/u001b|x1b|\[31m/.test(JSON.stringify(line)), line);
});

Deno.test("telemetry's variables reach a worker's Deno and no handler", async () => {
  Deno.env.set("OTEL_SERVICE_NAME", "agents-test");
  try {
    await using _ = await recordLogs();
    await using started = await startPool();
    const { pool } = started;
    const seen = await pool.enqueue(reach, { what: "env", where: "OTEL_SERVICE_NAME" });
    assertEquals(await seen.result(), null);
  } finally {
    Deno.env.delete("OTEL_SERVICE_NAME");
  }
});
