// cometd.js with acknowledgements behind a relay that breaks connections in the middle of answers with events: each event
// comes once and in order. Word: its transport.
import assert from "node:assert/strict";
import { AckExtension } from "cometd";
import { client, connected, inbox, scenario } from "./lib.mjs";
import { relay } from "./relay.mjs";

const COUNT = 400;
const TEARS = 12;

await scenario(async (url, kind) => {
  const between = await relay(url);
  const equipped = client(kind, between.url);
  equipped.lib.registerExtension("ack", new AckExtension());
  const shaken = await equipped.open();
  assert.equal(shaken.ext.ack, true);
  const news = inbox();
  await equipped.subscribe("/news", news.listener);
  const other = await connected("faye", url);

  let torn = 0;
  between.tear = (text) => {
    const tears = text.includes('"/news"') && torn < TEARS && Math.random() < 0.5;
    torn += tears ? 1 : 0;
    return tears;
  };
  for (let n = 0; n < COUNT; n += 1) {
    await other.publish("/news", n);
  }
  // Until all have broken; what is published after that shows that it goes on.
  let count = COUNT;
  while (torn < TEARS) {
    await other.publish("/news", count);
    count += 1;
    await news.holds(count);
  }
  await news.holds(count);
  assert.deepEqual(news.events.map(([, data]) => data), Array.from({ length: count }, (_, n) => n));
  assert.equal(equipped.sessions, 1, "one session all the time");
  assert.ok(equipped.failures > 0, "it has noticed");
  const batches = equipped.replies("/meta/connect").filter(({ successful }) => successful).map(({ ext }) => ext.ack);
  assert.ok(batches.every((batch, at) => at === 0 || batch > batches[at - 1]), `batches ${batches}`);
  await equipped.close();
});
