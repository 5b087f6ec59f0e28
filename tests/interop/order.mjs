// Many messages from one publisher, to every library by each of its transports: in order, none lost, none twice.
import assert from "node:assert/strict";
import { connected, inbox, scenario } from "./lib.mjs";

const COUNT = 500;

await scenario(async (url, kind) => {
  const publisher = await connected(kind, url);
  const readers = [publisher];
  for (const each of ["cometd", "cometd:websocket", "faye", "faye:websocket", "encke"]) {
    readers.push(await connected(each, url));
  }
  const heard = [];
  for (const reader of readers) {
    const ears = inbox();
    await reader.subscribe("/count/up", ears.listener);
    heard.push(ears);
  }

  const expected = Array.from({ length: COUNT }, (_, n) => ["/count/up", { n }]);
  if (publisher.kind === "faye" && publisher.transport === "long-polling") {
    // Faye sends on as many connections as it has requests; only what was acknowledged is surely before the next.
    for (const [channel, data] of expected) {
      await publisher.publish(channel, data);
    }
  } else {
    // cometd.js and encke.js have one request under way besides the connect; the rest waits for its turn. A WebSocket
    // has an order of its own.
    await Promise.all(expected.map(([channel, data]) => publisher.publish(channel, data)));
  }

  await publisher.publish("/count/up", "end");
  for (const ears of heard) {
    await ears.holds(COUNT + 1);
    assert.deepEqual(ears.events, [...expected, ["/count/up", "end"]]);
  }
});
