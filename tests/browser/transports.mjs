// Every transport, as a person chooses it on the page: two tabs talk over it, and the page says which one is live.
import assert from "node:assert/strict";
import { browsing } from "./lib.mjs";

const ALL = ["websocket", "streaming", "eventsource", "long-polling"];

await browsing(async ({ open }, ...offered) => {
  const ann = await open({ of: "Ann's browser" });
  const bob = await open({ of: "Bob's browser" });
  for (const tab of [ann, bob]) {
    await tab.livesOn(offered[0], "automatic");
    const options = await tab.page.locator("#choose option").allTextContents();
    assert.equal(options.length, 1 + ALL.length);
    for (const name of ALL) {
      const option = tab.page.locator(`#choose option[value="${name}"]`);
      assert.equal(await option.evaluate(({ disabled }) => disabled), !offered.includes(name), name);
      assert.equal(await option.textContent(), offered.includes(name) ? name : `${name}: not offered by the server`);
    }
  }
  const signs = { websocket: /WebSocket/, streaming: /stream/, eventsource: /EventSource/, "long-polling": /held$/ };
  const forms = { websocket: "frame", streaming: "line", eventsource: "event", "long-polling": "response" };
  for (const [at, name] of [...offered, ...offered].entries()) {
    for (const tab of [ann, bob]) {
      await tab.page.selectOption("#choose", name);
      await tab.livesOn(name, "chosen");
    }
    await ann.say(`${at} over ${name}`);
    await bob.heard(`${at} over ${name}`);
    await bob.say(`${name} it is ${at}`);
    await ann.heard(`${name} it is ${at}`);
    assert.match(await ann.page.locator("#held.now #held-what").textContent(), signs[name]);
    const row = ann.page.locator('.row[data-way="in"]').filter({ hasText: `${name} it is ${at}` });
    assert.equal(await row.first().locator(".as").textContent(), forms[name]);
    await ann.fits();
    assert.equal(await ann.page.locator("#pill").getAttribute("data-state"), "connected");
  }
  for (const tab of [ann, bob]) {
    await tab.page.selectOption("#choose", "");
    await tab.livesOn(offered[0], "automatic");
    assert.equal(await tab.page.locator('.row[data-way="error"]').count(), 0, "nothing looks like an error");
  }
  // What was said was shown once.
  const texts = await ann.page.locator(".message .text").allTextContents();
  assert.equal(texts.length, 4 * offered.length);
});
