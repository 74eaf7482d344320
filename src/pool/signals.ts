/**
 * The signals that end a program: the first asks for a stop in good order, a later one forces it.
 *
 * @module
 */
import { monotonicMs } from "../clock.ts";

const SIGNALS = ["SIGTERM", "SIGINT", "SIGHUP"] as const;
/** Signals so soon after the first are the same request: one Ctrl+C under `deno task` is two SIGINTs. */
const SAME_REQUEST_MS = 1_000;

/** Listens from its construction until it is closed. */
export class StopSignals {
  readonly #asked = new AbortController();
  readonly #forced = new AbortController();
  readonly #listener: () => void;
  #askedAt = 0;

  constructor() {
    this.#listener = () => this.#hear();
    for (const signal of SIGNALS) Deno.addSignalListener(signal, this.#listener);
  }

  /** Aborts at the first signal. */
  get asked(): AbortSignal {
    return this.#asked.signal;
  }

  /** Aborts at a signal that comes more than a second after the first. */
  get forced(): AbortSignal {
    return this.#forced.signal;
  }

  /** Listens no more: the next signal does what it does in any program. */
  close(): void {
    for (const signal of SIGNALS) Deno.removeSignalListener(signal, this.#listener);
  }

  #hear(): void {
    if (!this.#asked.signal.aborted) {
      this.#askedAt = monotonicMs();
      this.#asked.abort(new DOMException("A signal asked the program to stop", "AbortError"));
    } else if (monotonicMs() - this.#askedAt > SAME_REQUEST_MS) {
      this.#forced.abort(new DOMException("A further signal forces the stop", "AbortError"));
    }
  }
}
