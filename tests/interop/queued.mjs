// cometd.js: what an application says while the handshake is on its way waits for it, and then all goes out.
import assert from "node:assert/strict";
import { client, inbox, scenario } from "./lib.mjs";

await scenario(async (url, kind) => {
  const hasty = client(kind, url);
  const news = inbox();
  const opened = hasty.open();
  const acks = [];
  let subscribed;
  hasty.batch(() => {
    subscribed = hasty.subscribe("/news", news.listener);
    for (let n = 0; n < 20; n += 1) {
      acks.push(hasty.publish("/news", n));
    }
  });
  acks.push(hasty.publish("/news", 20));
  assert.equal(hasty.messages.length, 0, "nothing has been answered yet");
  await opened;
  await subscribed;
  await Promise.all(acks);
  await news.holds(21);
  assert.deepEqual(news.events.map(([, data]) => data), Array.from({ length: 21 }, (_, n) => n));
  assert.equal(hasty.replies("/meta/handshake").length, 1);
});
