import { ConfigError, Pool } from "@agentexec/core";
import { assertEquals, assertMatch, assertThrows } from "./support/assert.ts";
import { CHECKOUT } from "./support/projects.ts";

/** What a program of its own takes for the queue under these variables; "refused" and why if it refuses them. */
async function queueUnder(variables: Record<string, string>): Promise<string> {
  const program = `import { Client, CONF, ConfigError } from "@agentexec/core";
    try {
      const own = new Client({ queueName: "own" }).queueName;
      console.log([CONF.queueName, new Client().queueName, own].join(" "));
    } catch (error) {
      console.log(error instanceof ConfigError ? "refused: " + error.message : error);
    }`;
  const { stdout } = await new Deno.Command("deno", {
    args: ["eval", program],
    cwd: CHECKOUT,
    env: { AGENTEXEC_QUEUE_NAME: "", AGENTEXEC_QUEUE_PREFIX: "", NO_COLOR: "1", ...variables },
  }).output();
  return new TextDecoder().decode(stdout).trim();
}

Deno.test("AGENTEXEC_QUEUE_PREFIX names the queue if AGENTEXEC_QUEUE_NAME does not", async () => {
  assertEquals(await queueUnder({}), "agentexec_tasks agentexec_tasks own");
  assertEquals(await queueUnder({ AGENTEXEC_QUEUE_PREFIX: "urgent" }), "urgent urgent own");
  assertEquals(
    await queueUnder({ AGENTEXEC_QUEUE_NAME: "slow", AGENTEXEC_QUEUE_PREFIX: "urgent" }),
    "slow slow own",
  );
});

Deno.test("a name of a queue that is none is refused with the variable that gave it", async () => {
  for (const variable of ["AGENTEXEC_QUEUE_NAME", "AGENTEXEC_QUEUE_PREFIX"]) {
    assertMatch(
      await queueUnder({ [variable]: "no name" }),
      new RegExp(`^refused: Cannot use ${variable}: Cannot use "no name" as the name of a queue`),
    );
  }
});

Deno.test("a number of workers that no pool may have is refused with the variable that gave it", () => {
  const before = Deno.env.get("AGENTEXEC_NUM_WORKERS");
  try {
    for (const value of ["0", "1001", "1e2", "-1", "four"]) {
      Deno.env.set("AGENTEXEC_NUM_WORKERS", value);
      const error = assertThrows(() => new Pool({ name: "counted" }), ConfigError);
      assertEquals(
        error.message,
        `Cannot use AGENTEXEC_NUM_WORKERS: it must be a whole number from 1 to 1000, current value is "${value}"`,
      );
    }
  } finally {
    if (before === undefined) Deno.env.delete("AGENTEXEC_NUM_WORKERS");
    else Deno.env.set("AGENTEXEC_NUM_WORKERS", before);
  }
});
