/**
 * The last module that a worker process evaluates: by now the program's own has been evaluated.
 *
 * @module
 */
import { runWorker } from "./worker.ts";

await runWorker({});
