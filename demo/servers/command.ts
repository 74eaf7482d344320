/**
 * Runs the programs of the private servers.
 *
 * @module
 */

/** What {@linkcode runCommand} may be told. */
export interface CommandOptions {
  /** What the program reads from its standard input. */
  readonly input?: string;
}

/** How a program ended. */
export interface CommandResult {
  /** Whether its exit code was 0. */
  readonly success: boolean;
  /** All that it wrote. */
  readonly output: string;
}

/**
 * Runs a program to its end, in a process group of its own: Ctrl+C, which ends the demo, must not end it
 * halfway. A shell starts it, so that `--allow-run=sh` is enough wherever the system keeps its servers.
 */
export async function runCommand(
  command: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  const child = new Deno.Command("sh", {
    args: ["-c", 'exec "$@" 2>&1', "sh", ...command],
    cwd: "/",
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
    detached: true,
  }).spawn();
  const writer = child.stdin.getWriter();
  const written = writer.write(new TextEncoder().encode(options.input ?? ""))
    .then(() => writer.close());
  const { success, stdout } = await child.output();
  // A program that ends before it has read everything says why in its output.
  await written.catch(() => {});
  return { success, output: new TextDecoder().decode(stdout).trim() };
}

/** The same, where anything but success is an error. */
export async function mustRun(
  command: readonly string[],
  options: CommandOptions = {},
): Promise<void> {
  const { success, output } = await runCommand(command, options);
  if (!success) throw new Error(`Cannot run ${command.join(" ")}: ${output}`);
}
