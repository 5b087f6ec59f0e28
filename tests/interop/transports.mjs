// A library as it comes: cometd.js tries websocket first, Faye upgrades to it; both do with what the server has and what
// gets through to it. Words: KIND, the kind of another, the transport that it is to find.
import assert from "node:assert/strict";
import { client, connected, inbox, scenario } from "./lib.mjs";

await scenario(async (url, kind, otherKind, expected) => {
  const untouched = client(`${kind}:any`, url);
  const news = inbox();
  const reply = await untouched.open();
  await untouched.subscribe("/news", news.listener);
  await untouched.replied("/meta/connect", 1);

  const offered = reply.supportedConnectionTypes;
  assert.equal(untouched.connectionType, expected, `the server offers ${offered}`);

  await untouched.publish("/news", "own");
  const other = await connected(otherKind, url);
  await other.publish("/news", "other's");
  await news.holds(2);
  assert.deepEqual(news.events, [["/news", "own"], ["/news", "other's"]]);
  await untouched.close();
});
