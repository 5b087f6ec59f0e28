// An exact channel, `/x/*` and `/x/**`: who hears what, and each message once.
import assert from "node:assert/strict";
import { connected, inbox, scenario } from "./lib.mjs";

await scenario(async (url, kind) => {
  const interests = [["/x/a"], ["/x/*"], ["/x/**"], ["/x/a", "/x/*", "/x/**"]];
  const everyone = [];
  for (const channels of interests) {
    const one = await connected(kind, url);
    const heard = channels.map(() => inbox());
    await Promise.all(channels.map((channel, at) => one.subscribe(channel, heard[at].listener)));
    const end = inbox();
    await one.subscribe("/end", end.listener);
    everyone.push({ one, heard, end });
  }

  const published = ["/x", "/x/a", "/x/b", "/x/a/b", "/x/a/b/c", "/y/a", "/xx/a"];
  for (const channel of published) {
    await everyone[0].one.publish(channel, { to: channel });
  }
  // What is published later arrives later: after this, nothing of the above is still on its way.
  await everyone[0].one.publish("/end", {});

  const matching = {
    "/x/a": ["/x/a"],
    "/x/*": ["/x/a", "/x/b"],
    "/x/**": ["/x/a", "/x/b", "/x/a/b", "/x/a/b/c"],
  };
  for (const [at, { one, heard, end }] of everyone.entries()) {
    await end.holds(1);
    for (const [which, channel] of interests[at].entries()) {
      const expected = matching[channel].map((name) => [name, { to: name }]);
      assert.deepEqual(heard[which].events, expected, `${interests[at]}: ${channel}`);
    }
    // A session gets a message once, however many of its subscriptions match.
    const widest = matching[interests[at].at(-1)];
    for (const channel of published) {
      assert.equal(one.events(channel).length, widest.includes(channel) ? 1 : 0, `${interests[at]}: ${channel}`);
    }
  }
});
