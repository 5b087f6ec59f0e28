// The server dies and comes back: the pages say so, keep what is written meanwhile, and go on without being loaded again.
import assert from "node:assert/strict";
import { browsing, daemon } from "./lib.mjs";

await browsing(async ({ open }) => {
  const ann = await open({ of: "Ann's browser" });
  const bob = await open({ of: "Bob's browser" });
  await ann.say("before");
  await bob.heard("before");

  for (const tab of [ann, bob]) {
    tab.serverMayBeGone = true;
  }
  await daemon("kill");
  for (const tab of [ann, bob]) {
    await tab.is("reconnecting");
    await tab.page.getByText("What you write waits until it is back.").waitFor();
    await tab.page.getByRole("button", { name: "Try now" }).waitFor();
  }
  await ann.say("while it was away");
  await ann.said("while it was away", "waiting");

  await daemon("restart");
  for (const tab of [ann, bob]) {
    await tab.is("connected");
    await tab.page.waitForSelector("#notice", { state: "hidden" });
  }
  await ann.said("while it was away", "sent");
  await bob.say("after");
  await ann.heard("after");
  await ann.say("and after that");
  await bob.heard("and after that");
  for (const tab of [ann, bob]) {
    assert.equal(await tab.page.evaluate(() => window.sameAsBefore), true, "the page was loaded again");
    assert.equal(await tab.message("while it was away").count() <= 1, true, "shown twice");
  }
});
