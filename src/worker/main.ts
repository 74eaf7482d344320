/**
 * The main module of a worker process: by now the program's own module has been evaluated (`--preload`).
 *
 * @module
 */
import { runWorker } from "./worker.ts";

await runWorker({});
