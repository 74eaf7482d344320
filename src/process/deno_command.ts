/**
 * Which program starts the workers.
 *
 * @module
 */
import { ConfigError } from "../errors.ts";

/** The oldest Deno that has what the workers need (`--ignore-env`). */
const OLDEST = [2, 9] as const;

/**
 * The program to start workers with: this very Deno where that is granted, else the one on the path. For a compiled
 * program it is that program and no other.
 *
 * @throws {ConfigError} If this process may start neither, or is too old.
 */
export async function denoProgram(): Promise<string> {
  refuseOld();
  const path = Deno.execPath();
  for (const command of Deno.build.standalone ? [path] : [path, "deno"]) {
    const { state } = await Deno.permissions.query({ name: "run", command });
    if (state === "granted") return command;
  }
  const flag = Deno.build.standalone ? `--allow-run=${path}` : "--allow-run=deno";
  throw new ConfigError(
    `Cannot start workers: this process may not run ${path}; start it with ${flag}`,
  );
}

function refuseOld(): void {
  const [major = 0, minor = 0] = Deno.version.deno.split(".").map(Number);
  if (major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1])) return;
  throw new ConfigError(
    `Cannot start workers: Deno ${
      OLDEST.join(".")
    } or newer is needed, this is ${Deno.version.deno}`,
  );
}
