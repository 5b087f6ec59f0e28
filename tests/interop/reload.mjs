// cometd.js with its extension for pages that are loaded again, and with acknowledgements: the next page has the session
// of the one before, and what was published between the two.
import assert from "node:assert/strict";
import { AckExtension, ReloadExtension } from "cometd";
import { client, connected, inbox, scenario } from "./lib.mjs";

/** What a browser's tab keeps. */
const kept = new Map();
window.sessionStorage = {
  getItem: (name) => kept.get(name) ?? null,
  setItem: (name, value) => void kept.set(name, value),
  removeItem: (name) => void kept.delete(name),
};

await scenario(async (url, kind) => {
  /** What a page does when it is loaded. */
  const load = async () => {
    const page = client(kind, url);
    const news = inbox();
    page.lib.registerExtension("ack", new AckExtension());
    page.lib.registerExtension("reload", new ReloadExtension());
    page.onHandshake(() => void page.subscribe("/news", news.listener));
    const reply = await page.open();
    await page.replied("/meta/subscribe", 1);
    return { page, news, reply };
  };
  const before = await load();
  const other = await connected("faye", url);
  await other.publish("/news", "before");
  await before.news.holds(1);
  // The answer to that has been acknowledged once the next connect is there.
  await before.page.publish("/elsewhere", "all said");

  before.page.lib.reload();
  assert.equal(kept.size, 1);
  await other.publish("/news", "between");
  const after = await load();
  assert.equal(after.reply.ext.reload, true, "no handshake went to the server");
  assert.equal(after.reply.clientId, before.page.clientId);
  await other.publish("/news", "after");
  await after.news.holds(2);
  assert.deepEqual(after.news.events, [["/news", "between"], ["/news", "after"]]);
  await after.page.close();
});
