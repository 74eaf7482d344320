/**
 * `deno task compile`: one binary of the worker program, supervisor and worker in one, by `deno compile`.
 *
 * The permissions of a binary are fixed when it is made: those that the supervisor needs and those that its
 * pool grants, as lists. A worker gives up what its pool does not mention.
 *
 * @module
 */

const OUTPUT = "dist/worker";

/** What `examples/worker.ts` needs where its stores are on this machine: change it with your program. */
const FLAGS = [
  "--no-prompt",
  "--allow-net=127.0.0.1,localhost",
  "--allow-env",
  "--allow-sys=hostname",
  `--allow-run=${OUTPUT.split("/").at(-1)},sh`,
];

/** Compiles, and answers with the exit code. */
async function main(args: readonly string[]): Promise<number> {
  const [program = "examples/worker.ts"] = args;
  await Deno.mkdir("dist", { recursive: true });
  const { code, stderr } = await new Deno.Command("deno", {
    args: ["compile", ...FLAGS, "--output", OUTPUT, program],
    stdout: "inherit",
    stderr: "piped",
  }).output();
  const said = new TextDecoder().decode(stderr);
  console.error(said.trimEnd());
  if (code === 0) {
    console.log(`Compiled ${program} to ${OUTPUT}`);
    return 0;
  }
  if (/denort|base binary/.test(said)) {
    console.error(
      "\nCannot compile: `deno compile` needs a base binary (denort) of this very Deno version, and could not " +
        "download it. Where the download is out of reach, fetch it elsewhere and name the file in the variable " +
        `DENORT_BIN; it is ${
          Deno.env.get("DENORT_BIN") === undefined
            ? "not set"
            : `set to ${Deno.env.get("DENORT_BIN")}`
        } now.`,
    );
  }
  return 1;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
