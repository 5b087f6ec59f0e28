// The daemon behind a proxy is ended with SIGTERM and started again: its clients come back by themselves. Words: KIND, the
// daemon's process id.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { connected, client, daemon, inbox, scenario, until } from "../interop/lib.mjs";

/** Whether the process has ended; the test, which started it, has not looked at it yet. */
function hasEnded(pid) {
  try {
    return /\) Z /.test(readFileSync(`/proc/${pid}/stat`, "latin1"));
  } catch {
    return true;
  }
}

await scenario(async (url, kind, pid) => {
  const listening = client(kind, url);
  const news = inbox();
  listening.onHandshake(() => void listening.subscribe("/news", news.listener));
  await listening.open();
  if (listening.subscribesAgain) {
    await listening.subscribe("/news", news.listener);
  }
  await listening.replied("/meta/subscribe", 1);
  await listening.replied("/meta/connect", 1);
  const publisher = await connected(kind, url);
  await publisher.publish("/news", "before");
  await news.holds(1);
  const session = listening.clientId;
  const subscribed = listening.replies("/meta/subscribe").length;

  process.kill(Number(pid), "SIGTERM");
  await until("the daemon to end", () => hasEnded(pid));
  await until("the client to notice", () => listening.failures > 0);
  // A connect that was held has been answered as always. (One that came too late was not.)
  assert.ok(listening.replies("/meta/connect").every((reply) => reply.successful));
  await daemon("restart");

  await until("another session", () => listening.clientId !== session);
  await listening.replied("/meta/subscribe", subscribed + 1);
  const witness = await connected(kind, url);
  await witness.publish("/news", "after");
  await news.holds(2);
  assert.deepEqual(news.events, [["/news", "before"], ["/news", "after"]]);
});
