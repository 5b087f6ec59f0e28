// The remote calls of `examples/rpc.rs`, made with cometd.js: answered at once, later, with a failure, and never.
import assert from "node:assert/strict";
import { connected, scenario } from "./lib.mjs";

await scenario(async (url, kind) => {
  const client = await connected(kind, url);
  const ask = (target, content, timeout = 0) =>
    new Promise((answered) => client.lib.remoteCall(target, content, timeout, answered));
  const answer = async (...question) => {
    const { successful, data } = await ask(...question);
    return [successful, data];
  };

  assert.deepEqual(await answer("sum", [1, 2, 3.5]), [true, 6.5]);
  assert.deepEqual(await answer("primes", 100), [true, 25]);
  const [successful, { error }] = await answer("sum", "one and two");
  assert.equal(successful, false);
  assert.match(error, /^not an array of numbers: /);
  assert.deepEqual(await answer("primes", -1), [false, { error: "must be a number up to 10000000" }]);

  // Of several under way each gets its own answer, whichever comes first.
  const below = [1_000_000, 2, 3, 10, 100_000];
  const several = below.map((number) => answer("primes", number));
  several.push(answer("sum", []));
  assert.deepEqual(
    await Promise.all(several),
    [78_498, 0, 1, 4, 9_592, 0].map((count) => [true, count]),
  );

  // What is never answered the client ends itself; the session goes on.
  const { successful: ended, error: why, failure } = await ask("silence", {}, 50);
  assert.deepEqual([ended, why, failure.reason], [false, "406::timeout", "Remote Call Timeout"]);
  assert.deepEqual(await answer("sum", [1]), [true, 1]);
  assert.equal(client.sessions, 1);
});
