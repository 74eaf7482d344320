/**
 * Paths of `file:` URLs.
 *
 * @module
 */

/** The path that a `file:` URL names. */
export function fromFileUrl(url: string): string {
  return decodeURIComponent(new URL(url).pathname);
}

/** The `file:` URL of an absolute path. */
export function toFileUrl(path: string): URL {
  const escaped = path.replaceAll("%", "%25").replaceAll("#", "%23").replaceAll("?", "%3F")
    .replaceAll("\\", "%5C")
    // A URL drops these where they are written out.
    .replaceAll("\n", "%0A").replaceAll("\r", "%0D").replaceAll("\t", "%09");
  return new URL(`file://${escaped}`);
}
