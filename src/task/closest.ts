/**
 * Names beside the one that was meant.
 *
 * @module
 */

/** How many names are listed. */
const SHOWN = 20;

/** Names as a list for a message, those that are most like `name` first; "none" if there are none. */
export function listClosest(name: string, names: Iterable<string>): string {
  const all = [...names].map((each) => ({ each, distance: distanceOf(plain(name), plain(each)) }))
    .sort((a, b) => a.distance - b.distance)
    .map(({ each }) => each);
  if (all.length === 0) return "none";
  const more = all.length - SHOWN;
  return all.slice(0, SHOWN).join(", ") + (more > 0 ? ` and ${more} more` : "");
}

/** A name without what is easily written in another way. */
function plain(name: string): string {
  return name.toLowerCase().replace(/[-_.]/g, "");
}

/** How many characters are to be put in, taken out or replaced to make one text of the other (Levenshtein). */
function distanceOf(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, at) => at);
  for (const [index, character] of [...from].entries()) {
    const next = [index + 1];
    for (let at = 1; at <= to.length; at++) {
      const replaced = (row[at - 1] ?? 0) + (character === to[at - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[at] ?? 0) + 1, (next[at - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[to.length] ?? 0;
}
