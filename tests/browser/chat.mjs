// Two tabs talk; so do a shell and a script that use the lines that the page gives.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { browsing } from "./lib.mjs";

await browsing(async ({ open }) => {
  const ann = await open();
  let bob = await open();
  // Names are drawn from 144: a new tab may well have that of another, but not five in a row.
  for (let drawn = 1; drawn < 5 && (await bob.name()) === (await ann.name()); drawn += 1) {
    await bob.page.close();
    bob = await open();
  }
  assert.notEqual(await ann.name(), await bob.name(), "two tabs differ at first");

  await ann.say("hello");
  assert.equal(await bob.heard("hello"), await ann.name());
  await ann.said("hello", "sent");
  await bob.say("hello yourself");
  assert.equal(await ann.heard("hello yourself"), await bob.name());

  // A name is for all tabs of the browser that come later, and those that are loaded again.
  await ann.page.fill("#name", "Ann");
  await ann.page.press("#name", "Enter");
  await ann.say("it is me");
  assert.equal(await bob.heard("it is me"), "Ann");
  const later = await open();
  assert.equal(await later.name(), "Ann");

  // What looks like markup is text.
  const markup = `<img src="/no-such" onerror="document.title='bad'"><b>bold</b> & "quotes"`;
  await ann.say(markup);
  await bob.heard(markup);
  assert.equal(await bob.page.locator(".text *").count(), 0);
  assert.equal(await bob.page.title(), "encke");

  // The lines for a shell, as they are copied.
  const { stdout } = await promisify(execFile)("sh", ["-c", await bob.page.textContent("#code-sh")]);
  assert.match(stdout, /"successful":true/);
  assert.equal(await bob.heard("Hello from a shell"), "curl");

  // The lines for a script, pasted into the console.
  const script = await later.page.textContent("#code-js");
  const logged = later.page.waitForEvent("console", (message) => message.type() === "log");
  await later.page.evaluate(`(async () => { ${script} await client.publish("/chat/demo", "anything"); })()`);
  assert.match((await logged).text(), /anything/);
  assert.equal(await bob.heard("anything"), "somebody");

  // The copy buttons give what is shown.
  await bob.page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  // The button says so for two seconds; whoever looks now and then may miss that.
  await bob.page.evaluate(() => {
    const button = document.querySelector('[data-copy="code-sh"]');
    window.copied = new Promise((done) => {
      new MutationObserver(() => button.textContent === "Copied" && done()).observe(button, { childList: true });
    });
  });
  await bob.page.click('[data-copy="code-sh"]');
  await bob.page.evaluate(() => window.copied);
  assert.equal(
    await bob.page.evaluate(() => navigator.clipboard.readText()),
    await bob.page.textContent("#code-sh"),
  );

  // The live view: a row for what just came, with its JSON; paused, it stands still.
  await ann.say("shown on the wire");
  await bob.heard("shown on the wire");
  const row = bob.page.locator('.row[data-way="in"]').filter({ hasText: "shown on the wire" });
  await row.locator("summary").click();
  const told = JSON.parse(await row.locator("pre").textContent());
  const event = told.find(({ channel }) => channel === "/chat/demo");
  assert.equal(event.data.text, "shown on the wire");
  await bob.page.locator("#held.now").waitFor();
  await bob.page.click("#pause");
  const rows = await bob.page.locator(".row").count();
  await ann.say("not shown");
  await bob.heard("not shown");
  assert.equal(await bob.page.locator(".row").count(), rows);
});
