/**
 * What the compiler accepts and refuses of a producer. Checked, never run.
 */
import { z } from "zod";
import type { ActivityStatus } from "../../src/activity/activity.ts";
import { Client } from "../../src/client/client.ts";
import type { TaskEndStatus, TaskHandle } from "../../src/client/handle.ts";
import { defineTask, type TaskHandler } from "../../src/task/definition.ts";

const research = defineTask("research", {
  context: z.object({ company: z.string(), since: z.coerce.date().optional() }),
  result: z.object({ summary: z.string(), at: z.iso.datetime().transform((at) => new Date(at)) }),
});
const ping = defineTask("ping");
const count = defineTask("count", { result: z.number() });
const anyway = defineTask("anyway", { context: z.object({ a: z.string() }).optional() });

/** Fails to compile unless both types are the same. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true
  : false;
function isTrue<T extends true>(): T | undefined {
  return undefined;
}

export async function enqueueing(client: Client): Promise<void> {
  const task = await client.enqueue(research, { company: "Acme" });
  const result = await task.result();
  isTrue<Same<typeof result, { summary: string; at: Date }>>();
  const status = await task.status();
  isTrue<Same<typeof status, ActivityStatus>>();
  const end = await task.wait({ timeout: { seconds: 1 } });
  isTrue<Same<typeof end, TaskEndStatus>>();
  // The input of a coerced date is open, that of a string is not.
  await client.enqueue(research, { company: "Acme", since: "2026-01-01" });
  // @ts-expect-error: a member of another type
  await client.enqueue(research, { company: 5 });
  // @ts-expect-error: a member that is missing
  await client.enqueue(research, {});
  // @ts-expect-error: a member too many
  await client.enqueue(research, { company: "Acme", city: "Rome" });
  // @ts-expect-error: the context is missing
  await client.enqueue(research);
  // @ts-expect-error: no such option
  await client.enqueue(research, { company: "Acme" }, { priority: 1 });
  // @ts-expect-error: a duration is an object
  await client.enqueue(research, { company: "Acme" }, { delay: 5 });

  await client.enqueue(ping);
  await client.enqueue(ping, undefined, { delay: { seconds: 5 } });
  // @ts-expect-error: it takes no context
  await client.enqueue(ping, {});
  await client.enqueue(anyway, undefined);

  const byName = await (await client.enqueue("research", { anything: true })).result();
  isTrue<Same<typeof byName, unknown>>();
  const number = await (await client.enqueue(count)).result();
  isTrue<Same<typeof number, number>>();
}

export async function enqueueingMany(client: Client): Promise<void> {
  const tasks = await client.enqueueMany(research, [{ company: "Acme" }]);
  isTrue<
    Same<typeof tasks, readonly TaskHandle<{ summary: string; at: Date }>[]>
  >();
  await client.enqueueMany(ping, [undefined, undefined]);
  // @ts-expect-error: an element of another type
  await client.enqueueMany(research, [{ company: 5 }]);
  // @ts-expect-error: one id would be that of all
  await client.enqueueMany(ping, [undefined], { agentId: "x" });
}

export async function following(client: Client): Promise<void> {
  const task = client.handle(research, "0197a3b2-7c1d-7e2f-8a4b-5c6d7e8f9a0b");
  isTrue<Same<typeof task, TaskHandle<{ summary: string; at: Date }>>>();
  isTrue<Same<ReturnType<typeof client.handle>, TaskHandle<unknown>>>();
  for await (const { status, percentage, message } of task.progress()) {
    isTrue<Same<typeof status, ActivityStatus>>();
    isTrue<Same<typeof percentage, number | null>>();
    isTrue<Same<typeof message, string | null>>();
  }
  // @ts-expect-error: its id does not change
  task.agentId = "x";
}

type Handler = TaskHandler<typeof research.context, typeof research.result>;

export function handling(take: (handler: Handler) => void): void {
  take(({ context, agentId }) => {
    isTrue<Same<typeof context, { company: string; since?: Date | undefined }>>();
    return { summary: `${context.company} ${agentId}`, at: "2026-01-01T00:00:00Z" };
  });
  take(async ({ signal }) => {
    await Promise.resolve(signal.aborted);
    return { summary: "x", at: "2026-01-01T00:00:00Z" };
  });
  // @ts-expect-error: a handler gives the input of the result's schema
  take(() => ({ summary: "x", at: new Date() }));
  // @ts-expect-error: a handler that promises a result gives one
  take(() => {});
}

export function making(): void {
  new Client({ queueName: "q", maxContextBytes: 10 });
  new Client({ brokerUrl: undefined });
  // @ts-expect-error: no such option
  new Client({ redisUrl: "redis://localhost" });
}
