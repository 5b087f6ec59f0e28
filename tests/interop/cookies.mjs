// Sessions by hand that share a BAYEUX_BROWSER cookie; sessions of other browsers do not count.
import assert from "node:assert/strict";
import { Raw, scenario, sleep, until } from "./lib.mjs";

await scenario(async (url) => {
  const first = new Raw(url);
  await first.handshake();
  assert.match(first.cookie, /^BAYEUX_BROWSER=\w+$/);
  const tabs = [first];
  while (tabs.length < 5) {
    const tab = new Raw(url, first.cookie);
    await tab.handshake();
    assert.equal(tab.cookie, first.cookie);
    tabs.push(tab);
  }
  for (const tab of tabs) {
    const [reply] = await tab.connect();
    assert.equal(reply.successful, true);
    assert.equal(reply.advice["multiple-clients"], undefined);
  }

  // Five connects at once: one of them is one too many, whichever came last.
  const answered = [];
  for (const tab of tabs) {
    void tab.connect().then(([reply]) => answered.push({ tab, reply }));
  }
  await until("one to be answered", () => answered.length > 0);
  const [{ tab: surplus, reply }] = answered;
  assert.equal(reply.successful, true);
  assert.equal(reply.advice["multiple-clients"], true);
  assert.equal(reply.advice.reconnect, "retry");
  // Asked again, it is answered again; another browser is not.
  const [again] = await surplus.connect();
  assert.equal(again.successful, true);
  const stranger = new Raw(url);
  await stranger.handshake();
  assert.notEqual(stranger.cookie, first.cookie);
  await stranger.connect();
  await stranger.send({ channel: "/meta/subscribe", subscription: "/news" });
  let ended = false;
  const held = stranger.connect().then((replies) => ((ended = true), replies));
  await surplus.send({ channel: "/other", data: {} });
  assert.equal(ended, false, "another browser's connect is held");
  assert.equal(answered.length, 1, "four are held");

  // A session of one browser is nobody's in another.
  const thief = new Raw(url, stranger.cookie);
  thief.clientId = first.clientId;
  const [refused] = await thief.send({ channel: "/news", data: "stolen" });
  assert.equal(refused.error, "402::session_unknown");

  await surplus.send({ channel: "/news", data: "for the stranger" });
  const replies = await held;
  assert.deepEqual(replies[0], { channel: "/news", data: "for the stranger" });
  assert.equal(replies[1].channel, "/meta/connect");

  // A tab that closes frees its place: its held connect ends, and the surplus one is held in its stead.
  const closing = tabs.find((tab) => tab !== surplus);
  await closing.send({ channel: "/meta/disconnect" });
  await until("the closed one's connect to end", () => answered.length === 2);
  assert.equal(answered[1].reply.advice.reconnect, "none");
  await surplus.send({ channel: "/meta/subscribe", subscription: "/news" });
  const now = surplus.connect();
  await sleep(50);
  await stranger.send({ channel: "/news", data: "for the tab" });
  const [event, ordinary] = await now;
  assert.equal(event.data, "for the tab");
  assert.equal(ordinary.advice?.["multiple-clients"], undefined);
});
