/**
 * A step of the broker's clock, as the queue sees it: every time that the broker wrote down for a lease is as much nearer
 * or farther as the clock would have been set. No clock of the machine is touched, which other tests live by.
 *
 * @module
 */
import { rawSqlite } from "../broker/sqlite_audit.ts";
import { rawRedis } from "../broker/raw_redis.ts";

const MOVE = `
for _, name in ipairs({'supervisors', 'claims'}) do
  local key = '{' .. KEYS[1] .. '}:' .. name
  local entries = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  for at = 1, #entries, 2 do
    redis.call('ZADD', key, string.format('%.0f', entries[at + 1] - ARGV[1]), entries[at])
  end
end
return 1
`;

/** Sets the clock of a queue's broker forward by so many milliseconds, or back where they are below 0. */
export async function stepClock(brokerUrl: string, queue: string, ms: number): Promise<void> {
  if (!brokerUrl.startsWith("sqlite:")) {
    await using redis = await rawRedis(brokerUrl);
    await redis.send("EVAL", MOVE, "1", queue, String(ms));
    return;
  }
  using database = rawSqlite(brokerUrl.slice("sqlite:".length));
  for (const [table, rest] of [["supervisor", ""], ["task", " and state = 'claimed'"]]) {
    database.prepare(
      `update agentexec_broker_${table} set lease = lease - ? where queue = ?${rest}`,
    ).run(ms, queue);
  }
}
