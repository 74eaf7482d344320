/**
 * How scripts answer with claims that have an owner.
 *
 * @module
 */
import type { OwnedClaim } from "../../broker.ts";
import { asArray, asNumber, asString, type Reply } from "../reply.ts";

/** Lua that makes the answer for a claim of its hash: {@linkcode toOwnedClaim} reads it. */
export const DESCRIBE = `
local function describe(id)
  local task = task_of(id, 'token', 'owner', 'name', 'attempt', 'failures', 'crashes', 'lapses', 'cancel',
    'state')
  if task[9] ~= 'claimed' then return nil end
  return {
    id, task[1], task[2], task[3], task[4] or 0, task[5] or 0, task[6] or 0, task[7] or 0, task[8] and 1 or 0,
  }
end
`;

/**
 * Lua that tells how a supervisor is registered: `mark, lease`. The mark changes with each renewal; older versions do not
 * count theirs, so that the end of the lease has to tell.
 */
export const REGISTRATION = `
local function registration_of(supervisor, lease_end)
  local renewals = redis.call('HGET', RENEWALS, supervisor) or ''
  return renewals ~= '' and renewals or '@' .. lease_end, string.match(renewals, ':(%d+)$') or ''
end
`;

/** A claim from `{id, token, workerId, name, attempt, failures, crashes, lapses, canceled}`. */
export function toOwnedClaim(reply: Reply): OwnedClaim {
  const fields = asArray(reply);
  return {
    id: asString(fields[0]),
    token: asString(fields[1]),
    workerId: asString(fields[2]),
    name: asString(fields[3]),
    attempt: asNumber(fields[4]),
    failures: asNumber(fields[5]),
    crashes: asNumber(fields[6]),
    lapses: asNumber(fields[7]),
    canceled: asNumber(fields[8]) === 1,
  };
}
