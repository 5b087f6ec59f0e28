// cometd.js with its own extensions: a server that does not know one leaves it alone, and everything works.
import assert from "node:assert/strict";
import { AckExtension, BinaryExtension, TimeStampExtension, TimeSyncExtension } from "cometd";
import { client, connected, inbox, scenario } from "./lib.mjs";

await scenario(async (url, kind) => {
  const equipped = client(kind, url);
  equipped.lib.registerExtension("ack", new AckExtension());
  equipped.lib.registerExtension("binary", new BinaryExtension());
  equipped.lib.registerExtension("timestamp", new TimeStampExtension());
  equipped.lib.registerExtension("timesync", new TimeSyncExtension());
  await equipped.open();
  const news = inbox();
  await equipped.subscribe("/news", news.listener);
  const bytes = inbox();
  await equipped.subscribe("/bytes", bytes.listener);

  const plain = await connected("faye", url);
  for (let n = 0; n < 10; n += 1) {
    await plain.publish("/news", n);
  }
  await news.holds(10);
  assert.deepEqual(news.events.map(([, data]) => data), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);

  const sent = Uint8Array.from({ length: 256 }, (_, n) => n);
  equipped.lib.publishBinary("/bytes", sent, true, { name: "all bytes" });
  await bytes.holds(1);
  const [[, got]] = bytes.events;
  assert.deepEqual(new Uint8Array(got.data), sent);
  assert.equal(got.last, true);
  assert.deepEqual(got.meta, { name: "all bytes" });
  await equipped.close();
});
