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
 * | `{Q}:renewals` | hash | supervisorId → `<count of its renewals>:<its lease, ms>`: tells that it lives, whatever the clock says |
 * | `{Q}:swept` | zset | supervisorId → when it was swept, ms; how it learns of it |
 * | `{Q}:workers` | hash | workerId → supervisorId |
 * | `{Q}:ready:<workerId>` | string | what the worker said when it was ready; expires |
 * | `{Q}:delayed` | zset | id → when it is due, ms |
 * | `{Q}:wake` | zset | one marker while there may be something to claim |
 * | `{Q}:token` | string | the last token given |
 * | `{Q}:broker` | hash | `id`, `protocol` (the newest that was here), `oldest` (that may still work here), `served` (ms), `foreignSeen` and `foreignDropped` (counts) |
 * | `{Q}:foreign` | zset | entry → its number: entries that were no tasks, untouched, the last 10,000 |
 * | `{Q}:foreign:before` | list | what an older version kept as `{Q}:foreign`, moved there bit by bit |
 * | `{Q}:orphans` | zset | id → when a claim tells of it (again), ms: ids whose task was lost, until somebody settles each |
 * | `{Q}:canceled` | set | the tombstones of `Q`: ids that stand there once and count for nothing, since they were cancelled while they waited. Any further list has its own, `<list>:canceled` |
 * | `{Q}:maintainer` | string | the supervisor that runs the services of which a queue needs one; expires |
 * | `{Q}:formerly` | set | ids that the broker had before it lost its data |
 * | `{Q}:newer` | zset | id → `v` of waiting tasks that only a newer version may run |
 *
 * Whether a claimed task is to stop is the field `cancel` of its hash: it lives and dies with the task.
 * Reserved, not used yet: `{Q}:cancel`, `{Q}:pause`, `{Q}:suspect`.
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
local BROKER, FOREIGN, FOREIGN_BEFORE = PREFIX .. 'broker', PREFIX .. 'foreign', PREFIX .. 'foreign:before'
local ORPHANS, MAINTAINER, RENEWALS = PREFIX .. 'orphans', PREFIX .. 'maintainer', PREFIX .. 'renewals'
local NEWER = PREFIX .. 'newer'
local FORMERLY, ENDED = PREFIX .. 'formerly', PREFIX .. 'ended:'
`;

/** The prefix of the keys of tasks. */
export function taskPrefix(queue: string): string {
  return `{${queue}}:task:`;
}

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
