/**
 * Every key and channel of a queue in Redis. All but the list itself begin with `{Q}:`, so that a cluster
 * keeps a queue in one slot, and no other file writes one out.
 *
 * | key | type | what it holds |
 * | --- | --- | --- |
 * | `Q` | list | ids that wait and are due; claims take from the right, which is the head |
 * | `{Q}:task:<id>` | hash | a task: its fields are listed in `scripts/prelude.ts` |
 * | `{Q}:claims` | zset | id → end of its lease, ms |
 * | `{Q}:owner:<workerId>` | set | ids that the worker holds |
 * | `{Q}:owner:<supervisorId>` | set | ids that struck-off workers left to their supervisor |
 * | `{Q}:supervisors` | zset | supervisorId → end of its lease, ms |
 * | `{Q}:swept` | zset | supervisorId → when it was swept, ms; how it learns of it |
 * | `{Q}:workers` | hash | workerId → supervisorId |
 * | `{Q}:ready:<workerId>` | string | what the worker said when it was ready; expires |
 * | `{Q}:delayed` | zset | id → when it is due, ms |
 * | `{Q}:wake` | zset | one marker while there may be something to claim |
 * | `{Q}:token` | string | the last token given |
 * | `{Q}:broker` | hash | `id`, `protocol` (the newest that was here), `oldest` (that may still work here), `served` (ms) |
 * | `{Q}:foreign` | list | entries that were no tasks, untouched |
 * | `{Q}:canceled` | set | ids that were cancelled while they waited and still stand in `Q` |
 * | `{Q}:newer` | zset | id → `v` of waiting tasks that only a newer version may run |
 *
 * Whether a claimed task is to stop is the field `cancel` of its hash: it lives and dies with the task.
 * Reserved, not used yet: `{Q}:cancel`, `{Q}:pause`, `{Q}:suspect`, `{Q}:maintainer`.
 *
 * @module
 */
import type { Topic } from "../broker.ts";

/** The keys of a queue as the scripts name them, its list given as `KEYS[1]`. */
export const LUA_KEYS = `
local Q = KEYS[1]
local PREFIX = '{' .. Q .. '}:'
local TASK, OWNER, READY = PREFIX .. 'task:', PREFIX .. 'owner:', PREFIX .. 'ready:'
local CLAIMS, DELAYED, WAKE, TOKEN = PREFIX .. 'claims', PREFIX .. 'delayed', PREFIX .. 'wake', PREFIX .. 'token'
local SUPERVISORS, WORKERS, SWEPT = PREFIX .. 'supervisors', PREFIX .. 'workers', PREFIX .. 'swept'
local BROKER, FOREIGN = PREFIX .. 'broker', PREFIX .. 'foreign'
local CANCELED, NEWER = PREFIX .. 'canceled', PREFIX .. 'newer'
local ENDED = PREFIX .. 'ended:'
`;

/** The set that holds the one marker idle workers block on. */
export function wakeKey(queue: string): string {
  return `{${queue}}:wake`;
}

/** The channel of a topic. */
export function channelOf(queue: string, topic: Topic): string {
  switch (topic.kind) {
    case "log":
    case "stop":
      return `{${queue}}:${topic.kind}:${topic.supervisorId}`;
    case "ended":
    case "progress":
      return `{${queue}}:${topic.kind}:${topic.id}`;
  }
}
