// With nothing to say, a connect is held, returns after the timeout, and the client goes on; it still hears.
// Words: KIND, the daemon's timeout in milliseconds.
import assert from "node:assert/strict";
import { connected, inbox, Raw, scenario } from "./lib.mjs";

await scenario(async (url, kind, timeout) => {
  const waiting = await connected(kind, url);
  const news = inbox();
  await waiting.subscribe("/news", news.listener);
  await waiting.replied("/meta/connect", 2);
  const before = waiting.replies("/meta/connect").length;
  await waiting.replied("/meta/connect", before + 2);

  const replies = waiting.replies("/meta/connect");
  assert.ok(replies.every((reply) => reply.successful));
  // Held, not answered at once: the two last replies lie a timeout apart. (Less a little for coarse clocks.)
  const apart = replies.at(-1).at - replies.at(-2).at;
  assert.ok(apart >= Number(timeout) * 0.8, `two replies ${apart} ms apart, with a timeout of ${timeout} ms`);
  assert.equal(waiting.replies("/meta/handshake").length, 1, "one session all the time");

  const raw = new Raw(url);
  await raw.handshake();
  await raw.send({ channel: "/news", data: "still there?" });
  await news.holds(1);
  assert.deepEqual(news.events, [["/news", "still there?"]]);
  assert.equal(waiting.replies("/meta/handshake").length, 1);
});
