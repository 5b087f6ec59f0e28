// A library as it comes: cometd.js tries websocket first, Faye upgrades to it; both do with what the server has.
import assert from "node:assert/strict";
import { client, connected, inbox, scenario } from "./lib.mjs";

await scenario(async (url, kind, otherKind) => {
  const untouched = client(kind, url, { websocket: true });
  const news = inbox();
  const reply = await untouched.open();
  await untouched.subscribe("/news", news.listener);
  await untouched.replied("/meta/connect", 1);

  const offered = reply.supportedConnectionTypes;
  const expected = offered.includes("websocket") ? "websocket" : "long-polling";
  assert.equal(untouched.connectionType, expected, `the server offers ${offered}`);

  await untouched.publish("/news", "own");
  const other = await connected(otherKind, url);
  await other.publish("/news", "other's");
  await news.holds(2);
  assert.deepEqual(news.events, [["/news", "own"], ["/news", "other's"]]);
  await untouched.close();
});
