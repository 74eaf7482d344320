/**
 * The numbers that both brokers keep to: what processes of different versions agree on, and how much one call does.
 *
 * @module
 */

/** The version of the protocol between processes that share a queue. */
export const PROTOCOL = 1;

/**
 * The least protocol that a task of today needs, written with each: a version that speaks it may run the task, whatever
 * its producer speaks. What an older version must not miss of a task raises it for the tasks that have it.
 */
export const TASK_PROTOCOL = 1;

/** How many times a claim may lapse before its task ends as lost. */
export const LAPSE_LIMIT = 10;

/**
 * For how long the caller of `release` holds a task that is to be canceled, in milliseconds; a later sweep takes it.
 */
export const CANCEL_HOLD_MS = 5_000;

/** For how long a supervisor is its queue's maintainer after it was told so, in milliseconds. */
export const MAINTAINER_MS = 15_000;

/**
 * The most bytes of payloads that one claim answers with; a single one may be larger. On a link of 15 Mbit/s an answer of
 * this size just arrives within the deadline of a call.
 */
export const CLAIM_BYTES = 8 * 1024 * 1024;

/** The longest wait for something to claim, in milliseconds, whatever is asked. */
export const LONGEST_WAIT_MS = 5_000;

/** How many due tasks one claim moves into the queue, and how many of those that older versions put aside. */
export const DUE_AT_ONCE = 100;

/** How long what a ready worker said is kept if no supervisor renews it, in milliseconds. */
export const READY_MS = 60_000;

/** How many dead supervisors one sweep takes. */
export const DEAD_AT_ONCE = 10;

/** How many lapsed claims of nobody one sweep takes. */
export const LAPSED_AT_ONCE = 100;

/** The longest wait of a task that lapsed, in milliseconds; from the second lapse on it waits 2^n s. */
export const LONGEST_LAPSE_DELAY_MS = 300_000;

/** For how long a swept supervisor can learn of it, in milliseconds: a laptop that sleeps over night. */
export const REMEMBER_SWEPT_MS = 7 * 86_400_000;

/**
 * How long contact has to have been unbroken before a claim is swept whose supervisor is not registered, in milliseconds:
 * every one that lives is back, and registered again, within 2 s of the broker's own return.
 */
export const SWEEP_CONTACT_MS = 5_000;
