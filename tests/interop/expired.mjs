// Sessions by hand that stop connecting. Words: the daemon's max-interval in milliseconds, the transport.
import assert from "node:assert/strict";
import { Raw, RawSocket, scenario, sleep } from "./lib.mjs";

const isGone = (reply) => reply.successful === false && reply.error === "402::session_unknown";

await scenario(async (url, maxInterval, transport) => {
  const Session = transport === "websocket" ? RawSocket : Raw;
  const silent = new Session(url);
  const never = new Session(url);
  const sending = new Session(url);
  for (const one of [silent, never, sending]) {
    await one.handshake();
  }
  const forever = new Session(url);
  for (const one of [silent, sending]) {
    const [reply] = await one.connect();
    assert.equal(reply.successful, true, "the first connect is answered at once");
    assert.equal(reply.advice.reconnect, "retry");
  }

  // One only sends: that does not keep it alive for ever.
  let last;
  do {
    await sleep(50);
    [last] = await sending.send({ channel: "/news", data: {} });
  } while (last.successful);
  assert.ok(isGone(last), JSON.stringify(last));

  // One says nothing more; one never connected. Both are gone by then, and every message of theirs learns it.
  await sleep(Number(maxInterval));
  for (const one of [silent, never]) {
    const [reply] = await one.connect();
    assert.ok(isGone(reply), JSON.stringify(reply));
    assert.equal(reply.advice.reconnect, "handshake");
    assert.equal(reply.advice.interval, 0);
    const replies = await one.send(
      { channel: "/meta/subscribe", subscription: "/news", id: "1" },
      { channel: "/news", data: {}, id: "2" },
      { channel: "/meta/unsubscribe", subscription: "/news", id: "3" },
    );
    assert.ok(replies.every(isGone), JSON.stringify(replies));
    assert.deepEqual(replies.map(({ id }) => id), ["1", "2", "3"]);
    // An id that never was looks the same.
    forever.clientId = "0".repeat(one.clientId.length);
    assert.deepEqual(await forever.connect(), await one.connect());
  }

  // The same browser handshakes again and goes on.
  const old = silent.clientId;
  await silent.handshake();
  assert.notEqual(silent.clientId, old);
  const [reply] = await silent.connect();
  assert.equal(reply.successful, true);
});
