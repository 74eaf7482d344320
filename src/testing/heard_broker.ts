/**
 * A broker that tells who waits for a task, and when there is another one.
 *
 * @module
 */
import type { Broker, Queue, SubscribeOptions, Topic, Unsubscribe } from "../broker/broker.ts";

/** Who is told. */
export interface Listener {
  /** Somebody begins to wait for a task's end; what is returned is called when that is over. */
  readonly onWait: (agentId: string) => () => void;
  /** Tasks were enqueued. */
  readonly onEnqueue: () => void;
}

/** The broker itself, but that the listener is told. */
export function heardBroker(broker: Broker, listener: Listener): Broker {
  return overlaid(broker, {
    queue: (name, options) => heardQueue(broker.queue(name, options), listener),
  });
}

function heardQueue(queue: Queue, { onWait, onEnqueue }: Listener): Queue {
  return overlaid(queue, {
    async enqueue(entries: Parameters<Queue["enqueue"]>[0]) {
      const answer = await queue.enqueue(entries);
      onEnqueue();
      return answer;
    },
    async subscribe(topic: Topic, options: SubscribeOptions): Promise<Unsubscribe> {
      const unsubscribe = await queue.subscribe(topic, options);
      if (topic.kind !== "ended") return unsubscribe;
      const over = onWait(topic.id);
      return async () => {
        over();
        await unsubscribe();
      };
    },
  });
}

/** An object with some members replaced. The others work on the object itself, since its fields are private. */
function overlaid<T extends object>(target: T, members: Partial<T>): T {
  return new Proxy(target, {
    get(_, key) {
      if (Object.hasOwn(members, key)) return Reflect.get(members, key);
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
