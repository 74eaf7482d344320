/**
 * Writing files into a folder: all of them or none, and over nothing.
 *
 * @module
 */

/** What came of writing. */
export type WriteOutcome =
  | { readonly kind: "written"; readonly names: readonly string[] }
  | { readonly kind: "occupied"; readonly names: readonly string[] }
  | { readonly kind: "failed"; readonly reason: string };

/** Of these names, those that the folder has: a file, a folder, or a link, wherever it leads. */
export async function namesIn(folder: string, names: Iterable<string>): Promise<string[]> {
  const there: string[] = [];
  for (const name of names) {
    try {
      await Deno.lstat(`${folder}/${name}`);
      there.push(name);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  return there;
}

/** Writes the files. Where one cannot be written, those before it are taken back. */
export async function writeFiles(
  folder: string,
  files: ReadonlyMap<string, string>,
): Promise<WriteOutcome> {
  const made: string[] = [];
  for (const [name, text] of files) {
    const path = `${folder}/${name}`;
    try {
      // Made first: only then it is ours, to be written to and to be taken back.
      await Deno.writeTextFile(path, "", { createNew: true });
      made.push(path);
      await Deno.writeTextFile(path, text, { create: false });
    } catch (error) {
      const left = await takeBack(made);
      if (error instanceof Deno.errors.AlreadyExists && left === "") {
        return { kind: "occupied", names: [name] };
      }
      return { kind: "failed", reason: `${(error as Error).message}${left}` };
    }
  }
  return { kind: "written", names: [...files.keys()] };
}

/** Removes files; answers with what could not be removed, as the end of a message. */
async function takeBack(paths: readonly string[]): Promise<string> {
  let left = "";
  for (const path of paths) {
    try {
      await Deno.remove(path);
    } catch (error) {
      left += `; ${path} was written and could not be removed: ${(error as Error).message}`;
    }
  }
  return left;
}
