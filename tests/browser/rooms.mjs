// The page of `examples/chat.rs`: two people meet in a room, and one leaves it for a while.
import assert from "node:assert/strict";
import { browsing } from "./lib.mjs";

await browsing(async ({ newContext, endpoint, complaints }) => {
  const enter = async (name) => {
    const page = await (await newContext()).newPage();
    complaints(page);
    await page.goto(new URL("/", endpoint).href);
    await page.fill("#name", name);
    await page.click("#enter button");
    return page;
  };
  const hears = (page, text) => page.getByText(text, { exact: true }).first().waitFor();
  const sees = (page, names) => page.locator(`#members:text-is("${names}")`).waitFor();

  const ann = await enter("Ann");
  await hears(ann, "you are Ann");
  const bob = await enter("Ann");
  await hears(bob, "you are Ann-2");
  await hears(ann, "Ann-2 has joined");
  for (const page of [ann, bob]) {
    await sees(page, "Ann, Ann-2");
  }
  const markup = `<b>hello</b> & "you"`;
  await bob.fill("#text", markup);
  await bob.press("#text", "Enter");
  for (const page of [ann, bob]) {
    await hears(page, `Ann-2: ${markup}`);
    assert.equal(await page.locator("#log b").count(), 0, "markup is text");
  }
  await bob.waitForFunction(() => document.querySelector("#text").value === "");

  // Into another room, and back.
  await bob.fill("#room", "coffee");
  await bob.click("#enter button");
  await hears(ann, "Ann-2 has left");
  await sees(ann, "Ann");
  await bob.fill("#room", "tea");
  await bob.click("#enter button");
  await sees(ann, "Ann, Ann-2");
  assert.equal(await bob.getByText(/sent you away|no connection/).count(), 0, "leaving is no failure");
});
