/**
 * Calls that take turns.
 *
 * @module
 */

/** One call after the other. */
export class Lane {
  #last: Promise<unknown> = Promise.resolve();

  /** Does the work once all that was handed over before is done. */
  do<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work);
    // Whoever handed it over is told; the next one starts all the same.
    this.#last = done.catch(() => {});
    return done;
  }
}
