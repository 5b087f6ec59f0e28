// What was said before is there; and what was said while a laptop slept, longer than its session lived, comes once.
import assert from "node:assert/strict";
import { browsing } from "./lib.mjs";

await browsing(async ({ open }) => {
  const ann = await open({ of: "Ann's browser" });
  await ann.say("first");
  await ann.said("first", "sent");
  await ann.say("second");
  await ann.said("second", "sent");

  // Bob comes later, and sees it.
  const bob = await open({ of: "Bob's browser" });
  await bob.heard("first");
  await bob.heard("second");
  const texts = (tab) => tab.page.locator(".message .text").allTextContents();
  assert.deepEqual(await texts(bob), ["first", "second"]);
  assert.equal(await bob.page.locator(".mark").count(), 0, "it was only a moment ago");

  // His laptop sleeps: no script runs there.
  const devtools = await bob.page.context().newCDPSession(bob.page);
  await devtools.send("Debugger.enable");
  const asleep = new Promise((paused) => devtools.once("Debugger.paused", paused));
  await devtools.send("Debugger.pause");
  await asleep;
  for (const text of ["third", "fourth", "fifth"]) {
    await ann.say(text);
    await ann.said(text, "sent");
  }
  await new Promise((wake) => setTimeout(wake, 3_500));
  await ann.say("sixth");
  await devtools.send("Debugger.resume");
  await devtools.send("Debugger.disable");
  await bob.heard("sixth");
  await bob.is("connected");
  await ann.say("seventh");
  await bob.heard("seventh");
  const all = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh"];
  assert.deepEqual(await texts(bob), all);
  assert.equal(await bob.page.locator(".mark").count(), 0, "nothing is missing");

  // Who comes much later sees where that ended.
  const carl = await bob.page.context().newPage();
  await carl.clock.install({ time: Date.now() + 3_600_000 });
  await carl.goto(bob.page.url());
  await carl.locator(".message", { hasText: "seventh" }).waitFor();
  const marked = await carl.locator("#log > :not(#empty)").last().textContent();
  assert.equal(marked, "Now");
  assert.equal(await carl.locator(".mark").count(), 1);
  assert.deepEqual(await carl.locator(".message .text").allTextContents(), all);
});
