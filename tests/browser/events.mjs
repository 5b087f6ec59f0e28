// A browser's own EventSource on a channel that has a history: it goes on by itself with Last-Event-ID where the daemon
// ended its stream, and is told of the gap when the daemon has lost what it kept.
import assert from "node:assert/strict";
import { browsing, daemon } from "./lib.mjs";

await browsing(async ({ newContext, endpoint }) => {
  const { origin } = new URL(endpoint);
  const publish = async (n) => {
    const headers = { "Content-Type": "application/json" };
    const response = await fetch(`${origin}/publish/kept/a`, { method: "POST", headers, body: JSON.stringify({ n }) });
    assert.equal((await response.json()).successful, true);
  };
  const page = await (await newContext()).newPage();
  const asked = [];
  page.on("request", (request) => request.url().includes("/events/") && asked.push(request));
  await page.goto(`${origin}/encke.js`);
  let count = 0;
  await publish(count++);
  await page.evaluate(() => {
    window.heard = [];
    window.gaps = [];
    window.opened = 0;
    const source = new EventSource("/events/kept/**?since=-2");
    source.onopen = () => (window.opened += 1);
    source.addEventListener("/kept/a", ({ data }) => window.heard.push(JSON.parse(data).n));
    source.addEventListener("gap", ({ data }) => window.gaps.push(JSON.parse(data)));
  });
  const seen = () => page.evaluate(() => ({ heard: window.heard, gaps: window.gaps, opened: window.opened }));
  // Published all the time, so that some of it is while no stream is open.
  while ((await seen()).opened < 2) {
    await publish(count++);
    await new Promise((wake) => setTimeout(wake, 50));
  }
  await publish(count++);
  await page.waitForFunction((count) => window.heard.length >= count, count);
  const before = await seen();
  assert.deepEqual(before.heard, Array.from({ length: count }, (_, n) => n));
  assert.deepEqual(before.gaps, []);
  assert.ok((await asked.at(-1).allHeaders())["last-event-id"], "it said where it was");

  await daemon("restart");
  await publish("new");
  await page.waitForFunction(() => window.heard.includes("new"));
  const after = await seen();
  assert.deepEqual(after.heard, [...before.heard, "new"]);
  assert.equal(after.gaps.length, 1, JSON.stringify(after.gaps));
});
