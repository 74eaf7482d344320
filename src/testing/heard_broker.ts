/**
 * A broker that tells who waits for a task.
 *
 * @module
 */
import type { Broker, Queue, SubscribeOptions, Topic, Unsubscribe } from "../broker/broker.ts";

/** Told when somebody begins to wait for a task's end; what it returns is called when that is over. */
export type OnWait = (agentId: string) => () => void;

/** The broker itself, but that `onWait` is told of whoever listens for a task's end. */
export function heardBroker(broker: Broker, onWait: OnWait): Broker {
  return overlaid(broker, { queue: (name) => heardQueue(broker.queue(name), onWait) });
}

function heardQueue(queue: Queue, onWait: OnWait): Queue {
  return overlaid(queue, {
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
