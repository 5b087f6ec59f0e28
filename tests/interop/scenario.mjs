// A scenario: a program that drives a daemon, with a watchdog.
//
// It is run as `node SCENARIO.mjs URL WORD…`. It ends with the line `@@passed` and exit code 0, or it fails. `@@kill` and
// `@@restart` on stdout ask the test to do that to the daemon; the same word comes back on stdin when it is done.

import assert from "node:assert/strict";
import { createInterface } from "node:readline";

// How long a scenario may take before it is called hung. Nothing here says how fast a server must be.
const HUNG_AFTER_MS = 240_000;

/** What is being waited for, for the message of a scenario that hangs. */
const waits = new Set();

/** Runs a scenario to its end; the function gets the URL of the endpoint and the words after it. */
export async function scenario(body) {
  const [url, ...words] = process.argv.slice(2);
  setTimeout(() => fail(new Error(`hung; waiting for: ${[...waits].join("; ") || "a reply"}`)), HUNG_AFTER_MS);
  process.on("unhandledRejection", fail);
  process.on("uncaughtException", fail);
  await body(url, ...words).catch(fail);
  console.log("@@passed");
  process.exit(0);
}

function fail(error) {
  console.error(error);
  process.exit(1);
}

/** Waits until a condition holds. */
export async function until(what, condition) {
  waits.add(what);
  while (!condition()) {
    await sleep(5);
  }
  waits.delete(what);
}

export function sleep(ms) {
  return new Promise((wake) => setTimeout(wake, ms));
}

const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Has the test do something to the daemon: "kill" or "restart". */
export async function daemon(command) {
  const what = `the daemon to ${command}`;
  waits.add(what);
  console.log(`@@${command}`);
  assert.equal((await answers.next()).value, command);
  waits.delete(what);
}
