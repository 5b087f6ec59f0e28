// Faye on an EventSource that ends and opens again, again and again: nothing is lost, nothing comes twice.
// Words: the port of the site.
import assert from "node:assert/strict";
import { connected } from "../interop/lib.mjs";
import { sleep } from "../interop/scenario.mjs";
import { browsing } from "./lib.mjs";
import { serve } from "./site.mjs";

await browsing(async ({ newContext, endpoint, complaints }) => {
  const site = await serve(endpoint);
  const page = await (await newContext()).newPage();
  complaints(page);
  let streams = 0;
  page.on("request", (request) => (streams += request.resourceType() === "eventsource" ? 1 : 0));
  await page.goto(`http://127.0.0.1:${site}/`);
  await page.waitForFunction(() => window.libraries);
  const url = `http://127.0.0.1:${site}/cometd`;
  await page.evaluate((url) => (window.client = window.libraries.faye(url, "eventsource")), url);
  await page.evaluate(() => window.client.open());
  await page.evaluate(() => window.client.subscribe("/count"));

  const other = await connected("cometd:websocket", endpoint);
  let count = 0;
  while (streams < 4) {
    await other.publish("/count", count);
    count += 1;
    await sleep(50);
  }
  await page.waitForFunction((count) => window.log.heard.length >= count, count);
  const { heard, messages } = await page.evaluate(() => window.log);
  assert.deepEqual(heard, Array.from({ length: count }, (_, n) => n));
  assert.equal(messages.filter(({ channel }) => channel === "/meta/handshake").length, 1, "one session all the time");
});
