// The chat of `examples/chat.rs`: names, rooms that one has to join, presence, lists of members.
import assert from "node:assert/strict";
import { client, inbox, scenario, until } from "./lib.mjs";

await scenario(async (url, annKind, bobKind) => {
  const enter = async (kind, ext) => {
    const one = client(kind, url);
    const reply = await new Promise((done) => one.lib.handshake({ ext }, done));
    return Object.assign(one, { reply, name: reply.ext?.name });
  };
  /** Joins a room as the page does: who comes and goes is heard first. */
  const join = async (one, room) => {
    const heard = inbox();
    one.batch(() => {
      one.joined = [one.subscribe(`/members/${room}`, heard.listener), one.subscribe(`/chat/${room}`, heard.listener)];
    });
    [, one.seat] = await Promise.all(one.joined);
    return heard;
  };

  for (const name of [undefined, "", 7, "two words", "x".repeat(21)]) {
    const { lib, reply } = await enter("cometd:any", { name });
    assert.equal(reply.successful, false);
    assert.equal(reply.error, "403:say who you are in ext.name, with up to 20 letters and digits:handshake_denied");
    assert.equal(reply.advice.reconnect, "none");
    assert.ok(lib.isDisconnected());
  }
  const ann = await enter(annKind, { name: "Ann" });
  const bob = await enter(bobKind, { name: "Ann" });
  assert.deepEqual([ann.name, bob.name], ["Ann", "Ann-2"]);

  // Who is not in a room may not speak there; nor may anybody tell who comes and goes, or join all rooms.
  await assert.rejects(bob.publish("/chat/tea", { text: "hello" }), /^Error: 403:join the room first:publish_denied$/);
  const heardByAnn = await join(ann, "tea");
  await assert.rejects(ann.publish("/members/tea", { left: "Ann-2" }), /publish_denied/);
  for (const pattern of ["/chat/*", "/**", "/chat/tea/cup", "/members/**"]) {
    await assert.rejects(ann.subscribe(pattern, () => {}), /subscribe_denied/);
  }
  await heardByAnn.holds(2);
  assert.deepEqual(heardByAnn.events, [
    ["/members/tea", { joined: "Ann" }],
    ["/members/tea", { members: ["Ann"] }],
  ]);

  const heardByBob = await join(bob, "tea");
  await heardByBob.holds(2);
  await heardByAnn.holds(3);
  const joined = ["/members/tea", { joined: "Ann-2" }];
  assert.deepEqual(heardByBob.events, [joined, ["/members/tea", { members: ["Ann", "Ann-2"] }]]);
  assert.deepEqual(heardByAnn.events.at(-1), joined);

  // Names are the server's to write. What is no text goes nowhere.
  await bob.publish("/chat/tea", { from: "Ann", text: "<b>hello</b>" });
  await assert.rejects(bob.publish("/chat/tea", "hello"), /404::message_deleted/);
  await heardByAnn.holds(4);
  assert.deepEqual(heardByAnn.events.at(-1), ["/chat/tea", { from: "Ann-2", text: "<b>hello</b>" }]);

  // Only who asks is told who is there.
  const asked = async (room) => {
    const listener = ann.lib.addListener("/service/members", ({ data }) => data && answers.push(data));
    const answers = [];
    await ann.publish("/service/members", room);
    await until("the members", () => answers.length > 0);
    ann.lib.removeListener(listener);
    return answers[0];
  };
  assert.deepEqual(await asked("tea"), { room: "tea", members: ["Ann", "Ann-2"] });
  assert.deepEqual(await asked("coffee"), { room: "coffee", members: [] });

  // One may leave a room, come back, and leave for good.
  await bob.seat.cancel();
  await assert.rejects(bob.publish("/chat/tea", { text: "still here?" }), /join the room first/);
  bob.seat = await bob.subscribe("/chat/tea", () => {});
  await bob.close();
  await heardByAnn.holds(7);
  const members = ["left", "joined", "left"].map((what) => ["/members/tea", { [what]: "Ann-2" }]);
  assert.deepEqual(heardByAnn.events.slice(4), members);
  assert.deepEqual(await asked("tea"), { room: "tea", members: ["Ann"] });
  const carl = await enter(bobKind, { name: "Ann" });
  assert.equal(carl.name, "Ann-2", "the name is free again");
  await carl.replied("/meta/connect", 1);
});
