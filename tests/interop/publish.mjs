// Publishing: its acknowledgement, to others and to oneself, a batch, a service channel, and what is refused.
import assert from "node:assert/strict";
import { connected, inbox, scenario } from "./lib.mjs";

await scenario(async (url, kind) => {
  const publisher = await connected(kind, url);
  const subscriber = await connected(kind, url);
  const own = inbox();
  const others = inbox();
  await publisher.subscribe("/news", own.listener);
  await subscriber.subscribe("/news", others.listener);

  await publisher.publish("/news", { n: 0 });
  await own.holds(1);
  await others.holds(1);
  const acks = publisher.replies("/news");
  assert.equal(acks.length, 1);
  assert.equal(acks[0].data, undefined, "an acknowledgement has no data");

  // A batch: all acknowledged, all delivered, in order. Data of every kind, and nothing is kept from the publisher.
  const values = ["text", "", 0, -1.5, true, false, [], [1, [2]], {}, { deep: { deeper: [null] } }];
  let replies;
  publisher.batch(() => {
    replies = values.map((value) => publisher.publish("/news", value));
  });
  await Promise.all(replies);
  for (const heard of [own, others]) {
    await heard.holds(1 + values.length);
    assert.deepEqual(heard.events.slice(1).map(([, data]) => data), values);
  }

  // A service channel is acknowledged and heard by nobody.
  const service = inbox();
  await subscriber.subscribe("/service/work", service.listener);
  await publisher.publish("/service/work", { todo: "this" });

  // Nobody may publish to a pattern, or hear what is meta.
  await assert.rejects(publisher.publish("/news/*", {}), /405:\/news\/\*:/);
  await assert.rejects(subscriber.subscribe("/meta/handshake/x", () => {}), /403:\/meta\/handshake\/x:subscribe_denied/);
  if (publisher.kind !== "faye") {
    // Half of a surrogate pair is refused as malformed, which on a WebSocket ends it; the session goes on with another.
    // (Faye repeats whatever got no Bayeux reply, so it is not asked; encke.js does not send it.)
    const byServer = publisher.transport === "websocket" ? /WebSocket code 1007/ : /HTTP status 400/;
    const refused = publisher.kind === "encke" ? /half of a surrogate/ : byServer;
    await assert.rejects(publisher.publish("/news", "cut \ud83d"), refused);
  }

  await publisher.publish("/news", "last");
  await others.holds(2 + values.length);
  assert.deepEqual(service.events, []);
  assert.equal(others.events.length, 2 + values.length);
  await own.holds(2 + values.length);
  assert.equal(publisher.sessions, 1, "one session all the time");
});
