/**
 * The broker contract: messages.
 *
 * @module
 */
import type { Queue, Topic } from "../../../src/broker/broker.ts";
import { assertEquals } from "../../support/assert.ts";
import { waitFor } from "../../support/wait.ts";
import { type BrokerContract, claimOne, contractTest, crew, register, task } from "./bench.ts";

async function listen(queue: Queue, topic: Topic): Promise<string[]> {
  const heard: string[] = [];
  await queue.subscribe(topic, { onMessage: (message) => heard.push(message) });
  return heard;
}

/** Registers the tests of messages. */
export function talking(contract: BrokerContract): void {
  contractTest(
    contract,
    "a message reaches who listens to its topic, and nobody else",
    async (queue, bench) => {
      const id = crypto.randomUUID();
      const other = await bench.connect();
      const topics: readonly Topic[] = [
        { kind: "log", supervisorId: id },
        { kind: "stop", supervisorId: id },
        { kind: "ended", id },
        { kind: "progress", id },
      ];
      const heard = await Promise.all(topics.map((topic) => listen(queue, topic)));
      const elsewhere = await listen(queue, { kind: "log", supervisorId: crypto.randomUUID() });
      for (const topic of topics) await other.publish(topic, `{"é":"${topic.kind}"}`);
      await waitFor(() => heard.every(({ length }) => length === 1), { what: "four messages" });
      assertEquals(heard, topics.map(({ kind }) => [`{"é":"${kind}"}`]));
      assertEquals(elsewhere, []);
    },
  );

  contractTest(
    contract,
    "messages keep their order, and all who listen get them",
    async (queue, bench) => {
      const topic: Topic = { kind: "progress", id: crypto.randomUUID() };
      const all = await Promise.all([
        listen(queue, topic),
        listen(queue, topic),
        listen(await bench.connect(), topic),
      ]);
      const sent = Array.from({ length: 50 }, (_, n) => String(n));
      for (const message of sent) await queue.publish(topic, message);
      await waitFor(() => all.every(({ length }) => length >= 50), { what: "all messages" });
      assertEquals(all, [sent, sent, sent]);
    },
  );

  contractTest(contract, "who stopped listening hears nothing more", async (queue) => {
    const topic: Topic = { kind: "log", supervisorId: crypto.randomUUID() };
    const heard: string[] = [];
    const onMessage = (message: string) => void heard.push(message);
    const stop = await queue.subscribe(topic, { onMessage });
    const stayed = await listen(queue, topic);
    await queue.publish(topic, "1");
    await waitFor(() => heard.length === 1 && stayed.length === 1, { what: "the first message" });
    await stop();
    await stop();
    await queue.publish(topic, "2");
    await waitFor(() => stayed.length === 2, { what: "the second message" });
    assertEquals(heard, ["1"]);
    // Stopping and starting again at once loses nothing.
    const stopAgain = await queue.subscribe(topic, { onMessage });
    const [, restarted] = await Promise.all([stopAgain(), listen(queue, topic)]);
    await queue.publish(topic, "3");
    await waitFor(() => restarted.length === 1, { what: "the third message" });
    assertEquals(heard, ["1"]);
  });

  contractTest(
    contract,
    "the end of a task is told, by whichever way it ends",
    async (queue, bench) => {
      const worker = crew();
      await register(queue, worker);
      const [run, canceled] = [task(), task()];
      await queue.enqueue([run, canceled]);
      const other = await bench.connect();
      const ended = await listen(other, { kind: "ended", id: run.id });
      const removed = await listen(other, { kind: "ended", id: canceled.id });
      const claim = await claimOne(queue, worker.workerIds[0]);
      await queue.release(claim);
      await queue.cancel(canceled.id);
      await waitFor(() => removed.length === 1, { what: "the cancelled task's end" });
      assertEquals(ended, []);
      await queue.end(await claimOne(queue, worker.workerIds[0]));
      await waitFor(() => ended.length === 1, { what: "the task's end" });
    },
  );
}
