/**
 * Standard input as lines: how a worker hears its supervisor.
 *
 * @module
 */

/** The lines of a stream of UTF-8 text; ends with it. */
export async function* readLines(input: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let rest = "";
  for await (const chunk of input.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
  if (rest !== "") yield rest;
}
