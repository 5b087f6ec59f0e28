// The browser build of cometd.js with all its extensions, in a page of another site that is loaded again in the middle: its
// session goes on, and what was published meanwhile comes once. Words: its transport, the port of the site.
import assert from "node:assert/strict";
import { connected } from "../interop/lib.mjs";
import { browsing } from "./lib.mjs";
import { serve } from "./site.mjs";

/** In the page: a client with all extensions; what it hears is written down. */
async function equip([url, transport]) {
  const names = ["Ack", "Binary", "Reload", "TimeStamp", "TimeSync"];
  const { CometD } = await import("/lib/cometd.js");
  const lib = new CometD();
  for (const type of lib.getTransportTypes().filter((type) => type !== transport)) {
    lib.unregisterTransport(type);
  }
  lib.configure({ url, logLevel: "warn" });
  const log = { news: [], bytes: [], stamps: 0, batches: [] };
  lib.registerExtension("recorder", {
    incoming: (message) => {
      if (message.channel === "/meta/connect" && message.ext) {
        log.batches.push(message.ext.ack);
      }
      return message;
    },
    outgoing: (message) => ((log.stamps += message.timestamp ? 1 : 0), message),
  });
  for (const name of names) {
    const module = await import(`/lib/${name}Extension.js`);
    lib.registerExtension(name, new module[`${name}Extension`]());
  }
  Object.assign(window, { lib, log });
  const reply = await new Promise((done) => lib.handshake(done));
  const subscribe = (channel, hear) => new Promise((done) => lib.subscribe(channel, hear, done));
  await subscribe("/news", ({ data }) => log.news.push(data));
  await subscribe("/bytes", ({ data }) => log.bytes.push([...new Uint8Array(data.data)]));
  return { successful: reply.successful, clientId: lib.getClientId() };
}

await browsing(async ({ newContext, endpoint, complaints }, transport, port) => {
  const site = await serve(endpoint, Number(port));
  const page = await (await newContext()).newPage();
  complaints(page);
  const words = [endpoint, transport];
  const holds = (count) => page.waitForFunction((count) => window.log.news.length >= count, count);
  const log = () => page.evaluate(() => window.log);
  const other = await connected("faye", endpoint);

  await page.goto(`http://127.0.0.1:${site}/`);
  const first = await page.evaluate(equip, words);
  assert.ok(first.successful);
  for (let n = 0; n < 20; n += 1) {
    await other.publish("/news", n);
  }
  await holds(20);
  await page.evaluate(() => window.lib.publishBinary("/bytes", Uint8Array.from({ length: 256 }, (_, n) => n), true));
  await page.waitForFunction(() => window.log.bytes.length > 0);
  const before = await log();
  assert.deepEqual(before.news, Array.from({ length: 20 }, (_, n) => n));
  assert.deepEqual(before.bytes, [Array.from({ length: 256 }, (_, n) => n)]);
  assert.ok(before.stamps > 0, "its messages have a time");
  assert.ok(before.batches.every((batch, at) => at === 0 || batch > before.batches[at - 1]), `${before.batches}`);
  const offset = await page.evaluate(() => window.lib.getExtension("TimeSync").getTimeOffset());
  assert.ok(Math.abs(offset) < 60_000, `the clocks of one machine differ by ${offset} ms`);

  await page.evaluate(() => window.lib.reload());
  await page.reload();
  await other.publish("/news", 20);
  const again = await page.evaluate(equip, words);
  assert.equal(again.clientId, first.clientId, "the same session");
  await other.publish("/news", 21);
  await holds(2);
  assert.deepEqual((await log()).news, [20, 21], "each once, and none from before");
  await page.evaluate(() => new Promise((done) => window.lib.disconnect(done)));
});
