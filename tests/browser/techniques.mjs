// The page of techniques: each card by itself, all at once, hidden and shown again, without its server for a while, on
// a phone, without EventSource.
import assert from "node:assert/strict";
import { browsing, daemon } from "./lib.mjs";

const EVENTS = 5;
/** How many requests may leave while so many events come one after the other, once a technique is live. */
const POLLS = [EVENTS - 1, EVENTS + 2];
const WANTED = {
  "interval-polling": [EVENTS, Infinity],
  multipart: [0, 0],
  "forever-frame": [0, 0],
  "long-polling": POLLS,
  streaming: [0, 0],
  "callback-polling": POLLS,
  eventsource: [0, 0],
  websocket: [0, 0],
};
const CARDS = Object.keys(WANTED);
/** These need no session, so one request is all. */
const SOLE = ["multipart", "eventsource", "websocket"];

await browsing(async ({ open }) => {
  // Its timelines step once a second then, which is less to draw.
  const tab = await open({ reducedMotion: "reduce" });
  const { page } = tab;
  await tab.load(new URL("/techniques", page.url()).href);

  const card = async (id) => {
    const { requests, repeated } = await page.$eval(`#${id}`, ({ dataset }) => ({ ...dataset }));
    return { requests: Number(requests), repeated: Number(repeated) };
  };
  const has = (id, part) => page.waitForSelector(`#${id}${part}`);
  const are = (part) => Promise.all(CARDS.map((id) => has(id, part)));
  const publish = () => page.click("#publish");
  const isRight = async (id, events) => {
    await has(id, `[data-events="${events}"][data-expected="${events}"]`);
    assert.equal((await card(id)).repeated, 0, `${id} hears nothing twice`);
  };

  // All of them begin by themselves. For the rest of this, events come when they are asked for.
  await are('[data-state="live"]');
  await page.getByLabel("by hand").check();
  await page.click("#all");
  await are('[data-state="off"]');

  for (const id of CARDS) {
    await page.click("#reset");
    await has(id, '[data-requests="0"][data-events="0"]');
    await page.click(`#${id} header button`);
    await has(id, '[data-state="live"]');
    await publish();
    await isRight(id, 1);
    const before = (await card(id)).requests;
    assert.equal(before === 1, SOLE.includes(id), `${id} began with ${before}`);
    for (let n = 2; n <= EVENTS + 1; n += 1) {
      await publish();
      await isRight(id, n);
    }
    const [least, most] = WANTED[id];
    const sent = (await card(id)).requests - before;
    assert.ok(least <= sent && sent <= most, `${id}: ${sent} requests for ${EVENTS} events`);
    await page.click(`#${id} header button`);
    await has(id, '[data-state="off"]');
    const others = await Promise.all(CARDS.filter((other) => other !== id).map(card));
    assert.deepEqual(new Set(others.map(({ requests }) => requests)), new Set([0]), "nothing else ran");
  }

  // All at once, and what comes faster than anybody polls.
  await page.click("#reset");
  await page.click("#all");
  await are('[data-state="live"]');
  await page.$eval("#publish", (button) => Array.from({ length: 50 }, () => button.click()));
  await Promise.all(CARDS.map((id) => isRight(id, 50)));

  // A hidden page does nothing; shown again, it goes on.
  const show = (hidden) =>
    page.evaluate((value) => {
      Object.defineProperty(document, "hidden", { value, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }, hidden);
  await show(true);
  await are('[data-state="off"]');
  await show(false);
  await are('[data-state="live"]');
  await publish();
  await Promise.all(CARDS.map((id) => isRight(id, 51)));

  // The server is gone, and comes back.
  tab.serverMayBeGone = true;
  await daemon("kill");
  await are(':not([data-state="live"])');
  await daemon("restart");
  await are('[data-state="live"]');
  await tab.is("connected");
  await publish();
  await Promise.all(CARDS.map((id) => isRight(id, 52)));

  // Nothing is wider than the window.
  for (const width of [320, 360, 390, 768, 1024, 1440]) {
    await page.setViewportSize({ width, height: 740 });
    await tab.fits();
  }

  // What the browser lacks.
  await page.addInitScript(() => delete globalThis.EventSource);
  await tab.load(page.url());
  await has("eventsource", '[data-state="missing"]');
  await page.getByText("This browser has no EventSource.").waitFor();
  assert.ok(await page.isDisabled("#eventsource header button"));
  await has("websocket", '[data-state="live"]');
});
