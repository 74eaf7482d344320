import { workerEnvironment } from "../../src/process/environment.ts";
import { assertEquals, assertTrue } from "../support/assert.ts";

/** Sets variables for as long as `action` runs. */
function withVariables<T>(variables: Readonly<Record<string, string>>, action: () => T): T {
  const before = Object.keys(variables).map((name) => [name, Deno.env.get(name)] as const);
  try {
    for (const [name, value] of Object.entries(variables)) Deno.env.set(name, value);
    return action();
  } finally {
    for (const [name, value] of before) {
      if (value === undefined) Deno.env.delete(name);
      else Deno.env.set(name, value);
    }
  }
}

/** What `workerEnvironment()` gives in a process of few rights. */
async function environmentIn(
  options: { flags: string[]; env: Record<string, string>; granted: unknown },
) {
  const module = new URL("../../src/process/environment.ts", import.meta.url).href;
  const code = `import { workerEnvironment } from ${JSON.stringify(module)};
    console.log(JSON.stringify(workerEnvironment({ granted: ${
    JSON.stringify(options.granted)
  } })));`;
  const { code: exit, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--no-prompt",
      "--no-config",
      "--no-lock",
      ...options.flags,
      `data:application/typescript,${encodeURIComponent(code)}`,
    ],
    env: { ...options.env, PATH: Deno.env.get("PATH") ?? "" },
    clearEnv: true,
  }).output();
  assertEquals(exit, 0, new TextDecoder().decode(stderr));
  return JSON.parse(new TextDecoder().decode(stdout));
}

Deno.test("workerEnvironment() passes on what the system and Deno need, the library's settings, and what is granted", () => {
  const { variables, own, unreadable, ungranted } = withVariables({
    HTTPS_PROXY: "http://proxy",
    AGENTEXEC_QUEUE_NAME: "q",
    AGENTEXEC_QUEUE_PREFIX: "p",
    AGENTEXEC_REDIS_URL: "redis://:secret@host",
    DATABASE_URL: "postgres://u:secret@host/db",
    AGENTS_TEST_KEY: "granted",
    AGENTS_TEST_OTHER: "not granted",
  }, () => workerEnvironment({ granted: ["AGENTS_TEST_KEY", "AGENTS_TEST_UNSET"] }));
  assertEquals(variables.PATH, Deno.env.get("PATH") ?? "");
  assertEquals(variables.HTTPS_PROXY, "http://proxy");
  assertEquals(variables.AGENTEXEC_QUEUE_NAME, "q");
  assertEquals(variables.AGENTS_TEST_KEY, "granted");
  assertEquals([variables.DENO_NO_UPDATE_CHECK, variables.AGENTEXEC_WORKER], ["1", "1"]);
  assertTrue(!("AGENTS_TEST_OTHER" in variables) && !("AGENTS_TEST_UNSET" in variables));
  assertTrue(!JSON.stringify(variables).includes("secret"), "no address of a store");
  assertEquals(own, ["AGENTEXEC_QUEUE_NAME", "AGENTEXEC_QUEUE_PREFIX"]);
  assertEquals(unreadable, []);
  assertTrue(ungranted.includes("AGENTS_TEST_OTHER") && ungranted.includes("DATABASE_URL"));
  assertTrue(!ungranted.includes("AGENTS_TEST_KEY"));
});

Deno.test("workerEnvironment() expands a granted name that ends in '*'", () => {
  const { variables, ungranted } = withVariables(
    { AGENTS_TEST_A: "1", AGENTS_TEST_B: "2", AGENTS_OTHER: "3" },
    () => workerEnvironment({ granted: ["AGENTS_TEST_*"] }),
  );
  assertEquals([variables.AGENTS_TEST_A, variables.AGENTS_TEST_B], ["1", "2"]);
  assertTrue(!("AGENTS_OTHER" in variables) && ungranted.includes("AGENTS_OTHER"));
});

Deno.test("workerEnvironment() passes on everything where env is granted whole", () => {
  const { variables, ungranted } = withVariables(
    { AGENTS_TEST_ANY: "1" },
    () => workerEnvironment({ granted: true }),
  );
  assertEquals(variables.AGENTS_TEST_ANY, "1");
  assertEquals(ungranted, []);
});

Deno.test("a supervisor that may not read a granted variable says so, and takes every other one for unset", async () => {
  const { variables, unreadable } = await environmentIn({
    flags: ["--allow-env=MAY_READ"],
    env: { MAY_READ: "1", MAY_NOT_READ: "2", AGENTEXEC_QUEUE_NAME: "q" },
    granted: ["MAY_READ", "MAY_NOT_READ"],
  });
  assertEquals(variables, {
    MAY_READ: "1",
    DENO_UNSTABLE_RELAXED_PERMISSIONS: "0",
    DENO_UNSTABLE_ALLOW_ALL_BY_DEFAULT: "0",
    DENO_NO_UPDATE_CHECK: "1",
    AGENTEXEC_WORKER: "1",
  });
  assertEquals(unreadable, ["MAY_NOT_READ"]);
});

Deno.test("a loader's variable, with which Deno refuses to start a worker under a list, is left out and named", async () => {
  const options = { env: { LD_LIBRARY_PATH: "/x" }, granted: ["LD_LIBRARY_PATH"] };
  const narrow = await environmentIn({ ...options, flags: ["--allow-env", "--allow-run=deno"] });
  assertEquals(narrow.unpassable, ["LD_LIBRARY_PATH"]);
  assertTrue(!("LD_LIBRARY_PATH" in narrow.variables));
  const wide = await environmentIn({ ...options, flags: ["--allow-env", "--allow-run"] });
  assertEquals([wide.unpassable, wide.variables.LD_LIBRARY_PATH], [[], "/x"]);
});

Deno.test("a worker's locale and telemetry are its supervisor's, whole families where this may list them, else the known names", async () => {
  const env = {
    LC_ALL: "de_DE.UTF-8",
    LC_PAPER: "a4",
    OTEL_DENO: "true",
    OTEL_EXPORTER_OTLP_ENDPOINT: "http://collector",
    OTEL_BSP_SCHEDULE_DELAY: "1",
    LCX: "1",
  };
  const all = await environmentIn({ flags: ["--allow-env"], env, granted: [] });
  const { LCX: _, ...families } = env;
  assertEquals({ ...all.variables, ...families }, all.variables);
  assertTrue(!("LCX" in all.variables));
  const listed = await environmentIn({
    flags: ["--allow-env=LC_ALL,OTEL_DENO,OTEL_EXPORTER_OTLP_ENDPOINT"],
    env,
    granted: [],
  });
  for (const name of ["LC_ALL", "OTEL_DENO", "OTEL_EXPORTER_OTLP_ENDPOINT"] as const) {
    assertEquals(listed.variables[name], env[name]);
  }
});

Deno.test("a granted variable that is not set is named, one that may not be read is not taken for that", async () => {
  const { unset, unreadable } = await environmentIn({
    flags: ["--allow-env=SET,UNSET"],
    env: { SET: "1" },
    granted: ["SET", "UNSET", "UNREADABLE"],
  });
  assertEquals([unset, unreadable], [["UNSET"], ["UNREADABLE"]]);
});

Deno.test("a granted pattern that no variable fits is told, and one whose variables may not be listed differently", async () => {
  const env = { SET_A: "1" };
  const granted = ["SET_*", "UNSET_*"];
  const open = await environmentIn({ flags: ["--allow-env"], env, granted });
  assertEquals([open.unset, open.unlistable], [["UNSET_*"], []]);
  const listed = await environmentIn({ flags: ["--allow-env=SET_*"], env, granted });
  assertEquals([listed.unset, listed.unlistable], [[], ["SET_*", "UNSET_*"]]);
});
