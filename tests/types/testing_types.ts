/**
 * What the types of the test kit promise, checked by `deno check` and never run.
 *
 * @module
 */
import { type Client, defineTask, type Pool } from "@agentexec/core";
import { testPool } from "@agentexec/core/testing";
import { z } from "zod";

const plain = defineTask("plain");
const trim = defineTask("trim", {
  context: z.object({ text: z.string().transform((text) => text.length) }),
});

/** Never called. */
export async function check(pool: Pool, client: Client): Promise<void> {
  await using kit = testPool(pool);
  const [task] = await kit.enqueued(trim);
  // What is stored is the schema's input.
  const _text: string | undefined = task?.context.text;
  // @ts-expect-error: the context has no such member.
  void task?.context.missing;
  const [nothing] = await kit.enqueued(plain);
  const _none: undefined = nothing?.context;
  const [some] = await kit.enqueued();
  // @ts-expect-error: of a task of any kind the context is unknown.
  void some?.context.text;
  // @ts-expect-error: a name is no definition.
  await kit.enqueued("trim");
  // @ts-expect-error: a bare number has no unit.
  kit.advance(5);
  // @ts-expect-error: a client runs no tasks.
  testPool(client);
}
