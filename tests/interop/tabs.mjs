// Six tabs of one browser: four hold a connect, the others are told to poll now and then, and all hear everything once.
// The clients of the cometd library share a cookie jar, as tabs do.
import assert from "node:assert/strict";
import { connected, inbox, scenario, sleep, until } from "./lib.mjs";

const isAdvised = (tab) => tab.advice["multiple-clients"] === true;

await scenario(async (url) => {
  const tabs = [];
  for (let n = 0; n < 6; n += 1) {
    const tab = await connected("cometd", url);
    tab.heard = inbox();
    await tab.subscribe("/news", tab.heard.listener);
    // Its first connect is answered at once; the one after that is held, or is one too many.
    await tab.replied("/meta/connect", 1);
    tabs.push(tab);
    await until(`tab ${n} to be told of the others`, () => n < 4 || isAdvised(tab));
  }
  // Nothing has happened since to end the four that are held, so they have heard of nothing.
  assert.deepEqual(tabs.map(isAdvised), [false, false, false, false, true, true]);
  for (const tab of tabs.slice(4)) {
    const { reconnect, interval, timeout } = tab.advice;
    assert.equal(reconnect, "retry");
    assert.ok(interval > 0, "a tab that may not wait must not poll without pause");
    assert.equal(typeof timeout, "number");
  }

  for (let n = 0; n < 5; n += 1) {
    await tabs[n].publish("/news", n);
  }
  for (const tab of tabs) {
    await tab.heard.holds(5);
    assert.deepEqual(tab.heard.events.map(([, data]) => data), [0, 1, 2, 3, 4]);
  }

  // Two tabs close; then the others are told that all is well again, and it stays so: the connect after it is held.
  await tabs[0].close();
  await tabs[1].close();
  const rest = tabs.slice(2);
  let heard = 5;
  do {
    heard += 1;
    await rest[0].publish("/news", "nudge");
    for (const tab of rest) {
      await tab.heard.holds(heard);
    }
    await sleep(100);
  } while (rest.some(isAdvised));
  assert.ok(rest.every((tab) => tab.advice.reconnect === "retry" && tab.advice.interval === 0));
  assert.ok(tabs.every((tab) => tab.replies("/meta/handshake").length === 1), "nobody lost a session");
});
