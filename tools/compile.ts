/**
 * `deno task compile`: one binary of the worker program, supervisor and worker in one, by `deno compile`.
 *
 * The permissions of a binary are fixed when it is made: those that the supervisor needs and those that its
 * pool grants, as lists. A worker gives up what its pool does not mention.
 *
 * @module
 */

/** What `examples/worker.ts` needs where its stores are on this machine: change it with your program. */
function flagsFor(output: string): string[] {
  return [
    "--no-prompt",
    "--allow-net=127.0.0.1,localhost",
    "--allow-env",
    `--allow-run=${output},sh`,
  ];
}

/** Compiles a program to a file, and answers with the exit code. */
async function main(args: readonly string[]): Promise<number> {
  const [program = "examples/worker.ts", output = `${Deno.cwd()}/dist/worker`] = args;
  await Deno.mkdir(output.replace(/[^/]*$/, ""), { recursive: true });
  const { code, stderr } = await new Deno.Command("deno", {
    args: ["compile", ...flagsFor(output), "--output", output, program],
    stdout: "inherit",
    stderr: "piped",
  }).output();
  const said = new TextDecoder().decode(stderr);
  console.error(said.trimEnd());
  if (code === 0) {
    console.log(`Compiled ${program} to ${output}`);
    return 0;
  }
  if (/denort|base binary/i.test(said)) {
    const named = Deno.env.get("DENORT_BIN");
    console.error(
      "\nCannot compile: `deno compile` needs a base binary (denort) of this very version of Deno, and could not get " +
        "it. Where its download is out of reach, bring the file here and name it in the variable DENORT_BIN, which is " +
        `${named === undefined ? "not set" : `'${named}'`} now`,
    );
  }
  return 1;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
