// The daemon dies and comes back on the same port with no memory: clients handshake again by themselves and hear again.
import assert from "node:assert/strict";
import { connected, client, daemon, inbox, scenario, until } from "./lib.mjs";

await scenario(async (url, kind) => {
  const listening = client(kind, url);
  const news = inbox();
  // cometd.js forgets its subscriptions with the session; its documentation has them made in this listener.
  listening.onHandshake(() => void listening.subscribe("/news", news.listener));
  await listening.open();
  if (listening.subscribesAgain) {
    await listening.subscribe("/news", news.listener);
  }
  const publisher = await connected(kind, url);
  await listening.replied("/meta/subscribe", 1);
  await publisher.publish("/news", "before");
  await news.holds(1);
  const session = listening.clientId;
  const subscribed = listening.replies("/meta/subscribe").length;

  await daemon("kill");
  await until("the client to notice", () => listening.failures > 0);
  await daemon("restart");

  await until("another session", () => listening.clientId !== session);
  const lost = listening.replies("/meta/connect").find((reply) => !reply.successful);
  assert.equal(lost.error, "402::session_unknown");
  assert.equal(lost.advice.reconnect, "handshake");
  await listening.replied("/meta/subscribe", subscribed + 1);

  const witness = await connected(kind, url);
  await witness.publish("/news", "after");
  await news.holds(2);
  assert.deepEqual(news.events, [["/news", "before"], ["/news", "after"]]);

  // The one that only published has come back too.
  await until("the publisher's other session", () => publisher.replies("/meta/handshake").length > 1);
  await publisher.publish("/news", "from before");
  await news.holds(3);
  assert.deepEqual(news.events.at(-1), ["/news", "from before"]);
  await until("its transport again", () => listening.connectionType === listening.transport);
});
