/**
 * Whether all that Redis knows of a queue agrees with itself.
 *
 * @module
 */
import { assertEquals, assertTrue } from "../support/assert.ts";
import { fields, keysOf, type RawRedis, strings } from "./raw_redis.ts";

/** Throws unless each task of the queue is in exactly one place, and nothing else is there. */
export async function auditQueue(redis: RawRedis, queue: string): Promise<void> {
  const key = (name: string) => `{${queue}}:${name}`;
  const keys = await keysOf(redis, queue);
  const prefix = key("task:");
  const ids = keys.filter((each) => each.startsWith(prefix)).map((each) =>
    each.slice(prefix.length)
  );
  const [list, canceled, delayed, claims, newer] = await Promise.all([
    redis.send("LRANGE", queue, "0", "-1").then(strings),
    redis.send("SMEMBERS", key("canceled")).then(strings),
    redis.send("ZRANGE", key("delayed"), "0", "-1").then(strings),
    redis.send("ZRANGE", key("claims"), "0", "-1").then(strings),
    redis.send("ZRANGE", key("newer"), "0", "-1").then(strings),
  ]);
  const owned = new Map<string, string[]>();
  for (const each of keys.filter((each) => each.startsWith(key("owner:")))) {
    owned.set(each.slice(key("owner:").length), strings(await redis.send("SMEMBERS", each)));
  }
  // A cancelled id stands in the list until a claim meets it; one that was put in again meanwhile may only be delayed.
  for (const id of canceled) {
    assertTrue(!ids.includes(id) || delayed.includes(id), `${id} is cancelled and has a task`);
    assertEquals(list.filter((each) => each === id), [id], `the entries of ${id}, cancelled`);
  }
  const waiting = list.filter((id) => ids.includes(id) && !canceled.includes(id));
  for (const id of ids) {
    const task = await fields(redis, `${prefix}${id}`);
    const places = [
      ...waiting.filter((each) => each === id).map(() => "waiting"),
      ...delayed.filter((each) => each === id).map(() => "delayed"),
      ...claims.filter((each) => each === id).map(() => "claimed"),
      ...newer.filter((each) => each === id).map(() => "waiting"),
    ];
    assertEquals(places, [task["state"] ?? ""], `the places of ${id}`);
    const owners = [...owned].filter(([, set]) => set.includes(id)).map(([owner]) => owner);
    if (task["state"] !== "claimed") {
      assertEquals(owners, [], `${id} is not claimed and has an owner`);
      continue;
    }
    // Its worker, the supervisor that the worker left it to, or nobody where a sweeper has to end it.
    const owner = task["owner"] ?? "";
    const allowed = owner.includes("/") ? [owner, owner.split("/")[0]] : [];
    assertEquals(owners.length, owner.includes("/") ? 1 : 0, `the owners of ${id}`);
    assertTrue(owners.every((each) => allowed.includes(each)), `${id} has a stranger for an owner`);
  }
  for (const id of [...delayed, ...claims, ...newer]) {
    assertTrue(ids.includes(id), `${id} has a place and no task`);
  }
}
