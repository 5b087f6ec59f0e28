// jsforce's streaming client, as its documentation has it used: with its extension for replay, from −1, −2, a number, and
// a number that is too old. The daemon keeps three events of each channel, in Salesforce's shape.
import assert from "node:assert/strict";
import jsforce from "jsforce";
import streaming from "jsforce/lib/api/streaming.js";
import { scenario, until } from "../interop/scenario.mjs";

const CHANNEL = "/event/Order__e";

/** A client of its own that replays from there: what it heard, and how its subscription went. */
async function listen(instanceUrl, from) {
  const conn = new jsforce.Connection({ instanceUrl, accessToken: "a token", version: "60.0" });
  const client = conn.streaming.createClient([new streaming.StreamingExtension.Replay(CHANNEL, from)]);
  const heard = [];
  const subscription = client.subscribe(CHANNEL, (data) => heard.push(data));
  const error = await subscription.then(() => undefined, (error) => error);
  const holds = (count) => until(`event ${count} after ${from}`, () => heard.length >= count);
  return { client, heard, error, holds };
}

await scenario(async (endpoint) => {
  const { origin } = new URL(endpoint);
  const publish = async (n) => {
    const headers = { "Content-Type": "application/json" };
    const response = await fetch(`${origin}/publish${CHANNEL}`, { method: "POST", headers, body: JSON.stringify({ n }) });
    assert.equal((await response.json()).successful, true);
  };
  const numbers = ({ heard }) => heard.map(({ n }) => n);
  await publish(0);

  const fresh = await listen(origin, -1);
  assert.equal(fresh.error, undefined);
  for (const n of [1, 2, 3]) {
    await publish(n);
  }
  await fresh.holds(3);
  assert.deepEqual(numbers(fresh), [1, 2, 3]);
  const ids = fresh.heard.map(({ event }) => event.replayId);
  assert.deepEqual(ids, [...new Set(ids)].sort((a, b) => a - b), "they grow");
  assert.ok(fresh.heard.every(({ event }) => !Number.isNaN(Date.parse(event.createdDate))));

  const all = await listen(origin, -2);
  await all.holds(3);
  assert.deepEqual(all.heard, fresh.heard, "what is kept, as it was");
  const rest = await listen(origin, ids[0]);
  await rest.holds(2);
  assert.deepEqual(rest.heard, fresh.heard.slice(1));
  const none = await listen(origin, ids[2]);

  // Both what is replayed and what is new come once.
  await publish(4);
  await publish(5);
  for (const [one, expected] of [[fresh, [1, 2, 3, 4, 5]], [all, [1, 2, 3, 4, 5]], [rest, [2, 3, 4, 5]], [none, [4, 5]]]) {
    await one.holds(expected.length);
    assert.deepEqual(numbers(one), expected);
  }

  // 2 is gone, so who has no more than 1 cannot go on.
  const late = await listen(origin, ids[0]);
  assert.ok(late.error, "it is refused");
  // Faye does not take braces for a part of an error, and hands it on whole.
  assert.match(late.error.message, new RegExp(`^400::The replayId \\{${ids[0]}\\} you provided was invalid\\.`));
  const next = await listen(origin, ids[1]);
  await next.holds(3);
  assert.deepEqual(numbers(next), [3, 4, 5]);
  for (const { client } of [fresh, all, rest, none, next]) {
    await client.disconnect();
  }
});
