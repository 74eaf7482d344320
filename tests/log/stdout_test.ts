import { LineOutput } from "../../src/log/stdout.ts";
import { assertEquals, assertTrue } from "../support/assert.ts";
import { waitFor } from "../support/wait.ts";

/** An output that takes as many bytes at a time as it is told, and can be stuck. */
class FakeOutput {
  readonly #decoder = new TextDecoder();
  readonly #bytes: number[] = [];
  #release: (() => void)[] = [];
  writes = 0;
  stuck = false;
  error: Error | undefined;
  readonly #atOnce: number;

  constructor(atOnce = Infinity) {
    this.#atOnce = atOnce;
  }

  get text(): string {
    return this.#decoder.decode(new Uint8Array(this.#bytes));
  }

  async write(bytes: Uint8Array): Promise<number> {
    this.writes++;
    if (this.stuck) await new Promise<void>((resolve) => this.#release.push(resolve));
    return this.writeSync(bytes);
  }

  writeSync(bytes: Uint8Array): number {
    if (this.error !== undefined) {
      const { error } = this;
      if (error instanceof Deno.errors.WouldBlock) this.error = undefined;
      throw error;
    }
    const some = bytes.subarray(0, Math.min(bytes.length, this.#atOnce));
    this.#bytes.push(...some);
    return some.length;
  }

  release(): void {
    this.stuck = false;
    for (const each of this.#release.splice(0)) each();
  }
}

function lineOutput(output: FakeOutput, maxChars?: number): LineOutput {
  return new LineOutput({
    output,
    describeDropped: (count) => `${count} dropped\n`,
    ...(maxChars === undefined ? {} : { maxChars }),
  });
}

Deno.test("LineOutput writes all lines in order, however few bytes a write takes", async () => {
  const output = new FakeOutput(3);
  const lines = lineOutput(output);
  for (let n = 0; n < 100; n++) lines.write(`línea ${n}\n`);
  await lines.flush();
  assertEquals(output.text, Array.from({ length: 100 }, (_, n) => `línea ${n}\n`).join(""));
});

Deno.test("LineOutput writes what is logged in one go in one write", async () => {
  const output = new FakeOutput();
  const lines = lineOutput(output);
  for (let n = 0; n < 100; n++) lines.write(`${n}\n`);
  await lines.flush();
  assertEquals(output.writes, 1);
});

Deno.test("LineOutput drops the oldest lines where nobody reads, and says how many", async () => {
  const output = new FakeOutput();
  const lines = lineOutput(output, 50);
  output.stuck = true;
  lines.write("first\n");
  await waitFor(() => output.writes === 1, { what: "the write that is stuck" });
  for (let n = 0; n < 1_000; n++) lines.write(`line ${n}\n`);
  output.release();
  await lines.flush();
  assertTrue(output.text.startsWith("first\n995 dropped\nline 995\n"), output.text);
  assertTrue(output.text.endsWith("line 999\n"));
});

Deno.test("LineOutput bears an output that is gone, and one that is full for a moment", async () => {
  const gone = new FakeOutput();
  gone.error = new Deno.errors.BrokenPipe("gone");
  const lines = lineOutput(gone);
  lines.write("a\n");
  await lines.flush();
  lines.write("b\n");
  await lines.flush();
  lines.flushSync();
  assertEquals(gone.writes, 1);
  const full = new FakeOutput();
  full.error = new Deno.errors.WouldBlock("full");
  const others = lineOutput(full);
  others.write("a\n");
  await others.flush();
  assertEquals(full.text, "a\n");
});

Deno.test("flushSync() writes at once what waits", () => {
  const output = new FakeOutput(2);
  const lines = lineOutput(output);
  lines.write("one\n");
  lines.write("two\n");
  lines.flushSync();
  assertEquals(output.text, "one\ntwo\n");
});

Deno.test("flush() gives up on an output that is stuck", async () => {
  const output = new FakeOutput();
  const lines = lineOutput(output);
  output.stuck = true;
  lines.write("a\n");
  await lines.flush();
  assertEquals(output.text, "");
  output.release();
});
