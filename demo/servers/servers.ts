/**
 * The servers of the demo: those that the environment names, and private ones where it names none.
 *
 * @module
 */
import { CONF } from "@agentexec/core";
import { PlaceLock, type ServerKind } from "./place.ts";
import { postgres } from "./postgres.ts";
import { redis } from "./redis.ts";

/** Servers to work with, the private ones among them until they are disposed of. */
export interface Servers extends AsyncDisposable {
  /** Where Redis is. */
  readonly brokerUrl: string;
  /** Where the database is. */
  readonly databaseUrl: string;
}

/** What {@linkcode openServers} needs. */
export interface ServersOptions {
  /** Where private servers keep their data. */
  readonly folder: string;
  /** Whether to begin without any data there. */
  readonly fresh: boolean;
  /** Stops the preparations; what has been started by then is stopped. */
  readonly signal: AbortSignal;
  /** Is told what happens. */
  readonly onStep: (text: string) => void;
}

/** Finds or starts what is needed. A server that a demo which was killed has left behind is used again. */
export async function openServers(options: ServersOptions): Promise<Servers> {
  const { folder, fresh, signal, onStep } = options;
  await using stack = new AsyncDisposableStack();
  let { brokerUrl, databaseUrl } = CONF;
  if (brokerUrl === undefined || databaseUrl === undefined || fresh) {
    const lock = stack.use(await PlaceLock.take(folder));
    if (fresh) await forget(lock);
    const place = await lock.open();
    const provide = async (kind: ServerKind) => {
      signal.throwIfAborted();
      const running = await kind.findRunning(place);
      if (running === null) onStep(`Starting ${kind.name} with its data in ${place.folder}`);
      const server = running ?? await kind.start(place);
      stack.defer(async () => {
        await server.stop();
        onStep(`${kind.name} has stopped`);
      });
      return server.url;
    };
    brokerUrl ??= await provide(redis);
    databaseUrl ??= await provide(postgres);
  }
  signal.throwIfAborted();
  const keep = stack.move();
  return { brokerUrl, databaseUrl, [Symbol.asyncDispose]: () => keep.disposeAsync() };
}

/** Empties the folder, after whatever still runs in it has ended. */
async function forget(lock: PlaceLock): Promise<void> {
  const place = await lock.open();
  // Where there is nothing to forget, nothing needs to be installed to find that out.
  for (const kind of place.isNew ? [] : [redis, postgres]) {
    await (await kind.findRunning(place))?.stop();
  }
  await lock.empty();
}
