/**
 * The folder in which the private servers keep their data, held by one demo at a time.
 *
 * @module
 */

/** Where the servers are. */
export interface Place {
  /** The folder. */
  readonly folder: string;
  /** The servers' password: others on this machine can reach their ports too. */
  readonly password: string;
  /** Whether there was nothing here before: data elsewhere is of no use without the password. */
  readonly isNew: boolean;
}

/** A server that runs. */
export interface Server {
  /** Its address, password included. */
  readonly url: string;
  /** Ends it in good order. */
  stop(): Promise<void>;
}

/** A kind of server. */
export interface ServerKind {
  /** Its name. */
  readonly name: string;
  /** The one that a demo which was killed has left running; null where there is none. */
  findRunning(place: Place): Promise<Server | null>;
  /** Starts one and waits until it serves. */
  start(place: Place): Promise<Server>;
}

/** The folder, locked until it is disposed of or the process has ended, however that happens. */
export class PlaceLock implements Disposable {
  readonly #folder: string;
  readonly #file: Deno.FsFile;

  private constructor(folder: string, file: Deno.FsFile) {
    this.#folder = folder;
    this.#file = file;
  }

  /** Locks the folder, made where it is missing. */
  static async take(folder: string): Promise<PlaceLock> {
    await Deno.mkdir(folder, { recursive: true });
    const file = await Deno.open(`${folder}/lock`, { create: true, write: true });
    if (await file.tryLock(true)) return new PlaceLock(folder, file);
    file.close();
    throw new Error(
      `Cannot use ${folder}: another demo is using it; wait for its end, or name servers in ` +
        `REDIS_URL and DATABASE_URL`,
    );
  }

  /** What is there, with a password made where there is none. */
  async open(): Promise<Place> {
    const file = `${this.#folder}/password`;
    try {
      const password = await Deno.readTextFile(file);
      return { folder: this.#folder, password, isNew: false };
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
    const password = crypto.randomUUID();
    await Deno.writeTextFile(file, password, { mode: 0o600 });
    return { folder: this.#folder, password, isNew: true };
  }

  /** Removes everything but the lock. */
  async empty(): Promise<void> {
    for await (const { name } of Deno.readDir(this.#folder)) {
      if (name !== "lock") await Deno.remove(`${this.#folder}/${name}`, { recursive: true });
    }
  }

  /** Lets the next one in. */
  [Symbol.dispose](): void {
    this.#file.close();
  }
}
