/**
 * How long the end of anything may take. A forced stop of a pool ends within 2 s, whichever of its stores keeps silent
 * then, so that each wait has its share of them; here they stand together, so that they can be added up.
 *
 * @module
 */

// The supervisor's calls at its end.

/** A stop that has time: to hear of a worker that got ready a moment before it. */
export const HEAR_READY_MS = 800;
/** A stop that has time: for the last log lines of a worker that ended by itself. */
export const HEAR_BYE_MS = 1_000;
/** To settle what one worker left. */
export const SETTLE_MS = 800;
/** For one closing call. */
export const CLOSING_CALL_MS = 800;
/** The same once one got no answer: the others are tried, and not waited for in earnest. */
export const CLOSING_CALL_AWAY_MS = 100;

// Connections that close, of any process.

/** For what a store's writer has been given. */
export const WRITER_CLOSE_MS = 250;
/** For the connections of Postgres to be given back, and ended in good order. */
export const POSTGRES_END_MS = 250;
/** For the server to take note that nobody waits for its answer any more. */
export const POSTGRES_CANCEL_MS = 150;
/** For what was cut to be forgotten. */
export const POSTGRES_CUT_MS = 100;
/** For a database's connections together. */
export const DATABASE_CLOSE_MS = 550;
/** For a broker's answers under way. */
export const BROKER_CLOSE_MS = 800;

// A worker that ends.

/** For each thing that it closes. */
export const WORKER_CLOSE_MS = 1_000;
/** For its last log lines on their way to the broker. */
export const LOG_CLOSE_MS = 900;

// A worker whose supervisor died.

/** Between a supervisor's death and the end of what it left, by its guardian. */
export const GUARDIAN_PATIENCE_MS = 1_000;
/** To give the claims of such a worker back. */
export const ORPHAN_MS = 800;
/** To hear of that death by the end of standard input. */
export const HEAR_DEATH_MS = 900;

// What does not happen while the machine is well, and counts for no promise.

/** For a guardian to acknowledge a kill, before it is taken for lost. */
export const GUARDIAN_ANSWER_MS = 2_000;
/** For a guardian to end: one whose input has ended takes a second, one that takes longer is stuck. */
export const GUARDIAN_CLOSE_MS = 3_000;
/** For the pipes of a process that has ended: a grandchild may hold them open. */
export const PIPES_MS = 1_000;
/** For a terminal or pipe to take the last log lines of this process. */
export const STDOUT_FLUSH_MS = 1_000;
/** For the handlers that run in a test kit. */
export const KIT_CLOSE_MS = 1_000;

/** The promise of a forced stop. */
export const FORCED_STOP_MS = 2_000;

/** The waits of a forced stop: steps one after the other, and in each what goes on side by side. */
export const FORCED_STOP: readonly (readonly number[])[] = [
  // The workers are told and killed, what they left is settled; maintenance and renewals end meanwhile.
  [CLOSING_CALL_MS, SETTLE_MS],
  // The supervisor is struck off.
  [CLOSING_CALL_AWAY_MS],
  // The log subscription ends.
  [CLOSING_CALL_AWAY_MS],
  // The connections close.
  [BROKER_CLOSE_MS, WRITER_CLOSE_MS + DATABASE_CLOSE_MS],
];
