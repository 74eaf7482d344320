/**
 * Programs that use a database as a worker does: with a right to its files and no other.
 *
 * @module
 */
import { filesOf } from "../../src/activity/connection.ts";
import type { DatabaseAddress } from "../../src/addresses.ts";

/** Runs a fixture on a database; it is given the address and then `args`. */
export function runFixture(
  fixture: string,
  address: DatabaseAddress,
  ...args: string[]
): Deno.ChildProcess {
  const files = filesOf(address).read.join(",");
  return new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "--quiet", "--no-prompt", "--cached-only"],
      ...[`--allow-read=${files}`, `--allow-write=${files}`],
      new URL(`fixtures/${fixture}`, import.meta.url).pathname,
      ...[address.url, ...args],
    ],
    stdout: "piped",
    stderr: "piped",
    stdin: "null",
  }).spawn();
}
