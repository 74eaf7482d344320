/**
 * The handlers that run in kits, and whether they can go on by themselves.
 *
 * @module
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { Lane } from "./lane.ts";

/** A handler that runs in a kit. It may wait for tasks of that kit, or of another. */
export class Frame {
  /** Takes its own calls of `run` and `step` one after the other. */
  readonly lane: Lane = new Lane();
  readonly #onChange: () => void;
  #waits = 0;

  /** Calls `onChange` whenever it begins to wait, or goes on. */
  constructor(onChange: () => void) {
    this.#onChange = onChange;
  }

  /** Whether it waits for a task. */
  get isWaiting(): boolean {
    return this.#waits > 0;
  }

  /** It waits, until what is returned is called; that may be called twice. */
  wait(): () => void {
    this.#waits++;
    this.#onChange();
    let over = false;
    return () => {
      if (over) return;
      over = true;
      this.#waits--;
      this.#onChange();
    };
  }
}

const frames = new AsyncLocalStorage<Frame>();

/** The handler below which the present code stands; undefined outside any. */
export function currentFrame(): Frame | undefined {
  return frames.getStore();
}

/** Calls `body` as a handler, it and all it starts. */
export function runInFrame<T>(frame: Frame, body: () => T): T {
  return frames.run(frame, body);
}
