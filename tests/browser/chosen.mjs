// A transport that was chosen and is not offered any more is no fault; and the newest message stays in sight.
import assert from "node:assert/strict";
import { browsing, daemon } from "./lib.mjs";

await browsing(async ({ open }) => {
  const tab = await open({ viewport: { width: 1280, height: 1000 } });
  const { page } = tab;
  await page.selectOption("#choose", "websocket");
  await tab.livesOn("websocket", "chosen");

  // Whoever reads the newest sees it whatever becomes of the window; whoever reads further up is left there.
  for (let n = 0; n < 20; n += 1) {
    await tab.say(`number ${n}`);
  }
  await tab.said("number 19", "sent");
  const left = () => page.$eval("#log", (log) => log.scrollHeight - log.scrollTop - log.clientHeight);
  const resize = async (width, height) => {
    await page.setViewportSize({ width, height });
    await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
  };
  for (const [width, height] of [[1280, 600], [390, 500], [1280, 1000], [1280, 700]]) {
    await resize(width, height);
    assert.ok((await left()) < 2, `${await left()} px below, at ${width} × ${height}`);
  }
  await page.$eval("#log", (log) => (log.scrollTop = 0));
  await resize(1280, 600);
  assert.equal(await page.$eval("#log", (log) => log.scrollTop), 0);

  // What is told of the wire can be read to its end, and an empty frame says what it is for.
  await page.selectOption("#choose", "long-polling");
  await tab.livesOn("long-polling", "chosen");
  await page.locator(".note", { hasText: "[] asks whether all has arrived" }).first().waitFor();
  await page.selectOption("#choose", "websocket");
  await tab.livesOn("websocket", "chosen");
  await page.locator(".note", { hasText: "empty: another transport has taken over" }).first().waitFor();
  const cut = await page.$$eval(".note", (notes) =>
    notes.filter(({ scrollWidth, clientWidth }) => scrollWidth > clientWidth).map(({ textContent }) => textContent),
  );
  assert.deepEqual(cut, []);

  // The server comes back without WebSocket.
  await page.route("**/cometd", async (route) => {
    try {
      const response = await route.fetch();
      const body = (await response.text()).replace('"websocket",', "");
      await route.fulfill({ response, body });
    } catch {
      await route.abort().catch(() => {}); // The server may be gone, or the request given up, at any moment.
    }
  });
  tab.serverMayBeGone = true;
  await daemon("kill");
  await tab.page.getByRole("button", { name: "Try now" }).waitFor();
  await daemon("restart");
  await tab.is("connected");
  await page.locator('#choose option[value="websocket"]:disabled').waitFor({ state: "attached" });
  await tab.livesOn("long-polling", "");
});
