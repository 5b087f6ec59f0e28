// A client that sleeps longer than its session lives: on waking it learns that, handshakes again and hears again.
// Words: KIND, how long to sleep in milliseconds.
import assert from "node:assert/strict";
import { client, fallAsleep, inbox, scenario, until } from "./lib.mjs";

await scenario(async (url, kind, asleep) => {
  const sleeper = client(kind, url);
  const news = inbox();
  sleeper.onHandshake(() => void sleeper.subscribe("/news", news.listener));
  await sleeper.open();
  if (sleeper.subscribesAgain) {
    await sleeper.subscribe("/news", news.listener);
  }
  await sleeper.replied("/meta/connect", 1);
  await sleeper.publish("/news", 1);
  await news.holds(1);
  const session = sleeper.clientId;
  const subscribed = sleeper.replies("/meta/subscribe").length;

  fallAsleep(Number(asleep));

  await until("another session", () => sleeper.clientId !== session);
  const lost = sleeper.replies("/meta/connect").find((reply) => !reply.successful);
  assert.equal(lost.error, "402::session_unknown");
  assert.equal(lost.advice.reconnect, "handshake");
  await sleeper.replied("/meta/subscribe", subscribed + 1);
  await sleeper.publish("/news", 2);
  await news.holds(2);
  assert.deepEqual(news.events, [["/news", 1], ["/news", 2]]);
  await until("its transport again", () => sleeper.connectionType === sleeper.transport);
});
