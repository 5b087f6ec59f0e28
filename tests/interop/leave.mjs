// Unsubscribe, subscribe again, disconnect: after that the session is gone.
import assert from "node:assert/strict";
import { connected, inbox, Raw, scenario } from "./lib.mjs";

await scenario(async (url, kind) => {
  const publisher = await connected(kind, url);
  const subscriber = await connected(kind, url);
  const news = inbox();
  const end = inbox();
  const handle = await subscriber.subscribe("/news", news.listener);
  await subscriber.subscribe("/end", end.listener);

  await publisher.publish("/news", "heard");
  await news.holds(1);

  await handle.cancel();
  await publisher.publish("/news", "missed");
  await publisher.publish("/end", 1);
  await end.holds(1);
  assert.equal(subscriber.events("/news").length, 1, "nothing is sent after the unsubscribe");

  await subscriber.subscribe("/news", news.listener);
  await publisher.publish("/news", "heard again");
  await news.holds(2);
  assert.deepEqual(news.events, [["/news", "heard"], ["/news", "heard again"]]);

  const gone = subscriber.clientId;
  await subscriber.close();
  const raw = new Raw(url);
  raw.clientId = gone;
  const [reply] = await raw.connect();
  assert.equal(reply.successful, false);
  assert.equal(reply.error, "402::session_unknown");
  assert.equal(reply.advice.reconnect, "handshake");

  // The others do not notice, and the one that left comes back with another session.
  await publisher.publish("/news", "nobody there");
  const back = await connected(kind, url);
  assert.notEqual(back.clientId, gone);
  const fresh = inbox();
  await back.subscribe("/news", fresh.listener);
  await publisher.publish("/news", "welcome back");
  await fresh.holds(1);
  assert.deepEqual(fresh.events, [["/news", "welcome back"]]);
});
