/**
 * Connections that take the place of a client's own: those of a test kit.
 *
 * @module
 */
import type { Dialect } from "kysely";
import type { ActivityStore } from "../activity/store.ts";
import type { Broker } from "../broker/broker.ts";
import { AgentexecError } from "../errors.ts";
import { Lazy } from "./lazy.ts";

/** What a test kit brings. */
export interface Replacement {
  /** The broker, not connected yet. */
  readonly broker: Broker;
  /** The activity store, not connected yet. */
  readonly store: ActivityStore;
  /** How the program's own statements reach the store's database. */
  readonly dialect: Dialect;
  /** Connects both and makes the tables; called before the first use, and perhaps again. */
  readonly open: () => Promise<void>;
  /** Its time, in milliseconds of the Unix epoch. */
  readonly now: () => number;
}

/** A broker and a database, each connected when it is first needed. */
export interface Connections {
  /** The broker. */
  readonly broker: Lazy<Broker>;
  /** The database. */
  readonly store: Lazy<ActivityStore>;
}

/** Where a test kit is attached to a client that runs no workers. */
export class KitPlace {
  #present: Replacement | undefined;
  /** Whether a running pool uses the client's own connections. */
  #held = false;
  #takeOut: () => void = () => {};

  /** What is attached. */
  get present(): Replacement | undefined {
    return this.#present;
  }

  /**
   * Lets nothing be attached until {@linkcode KitPlace.letGo}. May be called twice.
   *
   * @throws {AgentexecError} If something is attached.
   */
  hold(): void {
    if (this.#present !== undefined) {
      throw new AgentexecError(
        "Cannot start workers: a test kit is attached to this pool, and runs its tasks itself",
      );
    }
    this.#held = true;
  }

  /** The pool uses them no more. */
  letGo(): void {
    this.#held = false;
  }

  /**
   * Attaches a kit. `use` is given its connections, and undefined once it is taken out.
   *
   * @returns Takes it out, and closes nothing. May be called twice.
   * @throws {AgentexecError} If another one is attached, or a running pool uses the client's own connections.
   */
  put(replacement: Replacement, use: (connections: Connections | undefined) => void): () => void {
    if (this.#present !== undefined) {
      throw new AgentexecError("Cannot attach a test kit to this pool: another one is attached");
    }
    if (this.#held) {
      throw new AgentexecError("Cannot attach a test kit to this pool: it has started workers");
    }
    const { broker, store, open } = replacement;
    this.#present = replacement;
    use({
      broker: new Lazy({ make: () => broker, connect: open, address: () => broker.address }),
      store: new Lazy({ make: () => store, connect: open, address: () => store.address }),
    });
    const takeOut = () => {
      if (this.#takeOut !== takeOut) return;
      this.#takeOut = () => {};
      this.#present = undefined;
      use(undefined);
    };
    return this.#takeOut = takeOut;
  }

  /** Takes out what is attached. */
  takeOut(): void {
    this.#takeOut();
  }
}
