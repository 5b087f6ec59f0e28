// What encke.js loses: nothing that the server keeps, and nothing without a word. Word: which part.
import assert from "node:assert/strict";
import { connected, daemon, journal, Raw, scenario, sleep, until } from "./lib.mjs";
import { relay } from "./relay.mjs";

const CHANNEL = "/kept/a";
const QUICK = { retryMax: 100, upgradeMin: 50, upgradeMax: 200, openTimeout: 2_000 };

/** A client behind a relay, what it hears and what it is told to miss, and a second one that publishes directly. */
async function pair(url, options, since) {
  const proxy = await relay(url);
  const log = journal(proxy.url, { ...QUICK, ...options });
  const [heard, gaps] = [[], []];
  log.client.onGap((...gap) => gaps.push(gap));
  // The shape of Salesforce has what is no object as `payload`.
  const subscription = log.client.subscribe(CHANNEL, (data) => heard.push(data.payload ?? data), { since });
  await log.client.connect();
  await subscription.ready;
  const publisher = await connected("encke", url, { transports: ["long-polling"] });
  const say = (n) => publisher.publish(CHANNEL, n);
  const hears = async (...numbers) => {
    await until(`to hear ${numbers}, not ${heard}`, () => heard.length >= numbers.length);
    await sleep(100);
    assert.deepEqual(heard, numbers, "lost, doubled or out of order");
  };
  return { ...log, url, proxy, heard, gaps, say, hears, publisher };
}

const handshakes = ({ sent }) => sent.flat().filter(({ channel }) => channel === "/meta/handshake").length;
const range = (count) => Array.from({ length: count }, (_, n) => n);

/** The network is away for longer than the session lives. */
async function lastingLoss(log, meanwhile) {
  const { proxy, client, url } = log;
  const before = handshakes(log);
  proxy.down = true;
  proxy.sever();
  await until("the loss to be noticed", () => client.state === "reconnecting");
  await meanwhile();
  const raw = new Raw(url);
  raw.clientId = log.sent.flat().findLast(({ clientId }) => clientId).clientId;
  // What is sent keeps no session.
  for (let alive = true; alive; await sleep(50)) {
    const [reply] = await raw.send({ channel: "/service/x", data: {} });
    alive = reply.successful;
  }
  proxy.down = false;
  await until("another session", () => handshakes(log) > before && client.state === "connected");
}

const parts = {
  /** Connections break all the time, while events come. */
  async acknowledged(url, transport) {
    const { client, say, hears, proxy, ...log } = await pair(url, { ack: true, transports: [transport] });
    let cuts = 0;
    for (let n = 0; n < 300; n += 1) {
      await say(n);
      await sleep(4 * Math.random());
      if (n % 20 === 10) {
        await until("to be connected", () => client.state === "connected");
        await sleep(5 * Math.random());
        proxy.sever();
        cuts += 1;
      }
    }
    await hears(...range(300));
    assert.ok(cuts > 10);
    assert.equal(client.transport, transport);
    assert.equal(handshakes(log), 1, "one session all the time");
  },

  /** From one transport to another, and back when they break, on a slow network. */
  async moving(url) {
    const { client, say, hears, proxy, ...log } = await pair(url, { ack: true, openTimeout: 20_000 });
    const names = client.transports.filter(({ usable }) => usable).map(({ name }) => name);
    assert.deepEqual(names, ["websocket", "streaming", "long-polling"]);
    let stopped = false;
    let count = 0;
    const saying = (async () => {
      while (!stopped) {
        await say(count);
        count += 1;
        await sleep(8 * Math.random());
      }
    })();
    proxy.lag = 40;
    // Until enough has come in the midst of it, however slow the machine is.
    for (let round = 0; round < 3 || count <= 50; round += 1) {
      for (const name of names) {
        await client.use(name).catch(() => {});
        await sleep(100 * Math.random());
        if (round > 0) {
          proxy.sever();
          await until("to be connected", () => client.state === "connected");
        }
      }
    }
    stopped = true;
    await saying;
    await hears(...range(count));
    assert.equal(handshakes(log), 1, "one session all the time");
  },

  /** The session ends while the client is away; on each transport. */
  async expired(url) {
    const all = await pair(url, {}, "all");
    const { client, say, hears, gaps } = all;
    let next = 0;
    for (const name of ["websocket", "streaming", "eventsource", "long-polling"]) {
      await client.use(name);
      await say(next++);
      await hears(...range(next));
      await lastingLoss(all, async () => {
        await say(next++);
        await say(next++);
      });
      await say(next++);
      await hears(...range(next));
    }
    assert.deepEqual(gaps, []);
  },

  /** An application stores its position, and begins there when it is loaded again. */
  async loaded(url) {
    const { client, say, hears, publisher, gaps } = await pair(url, {}, "new");
    assert.ok(client.position(CHANNEL) > 2 ** 50, "the reply has it");
    await say(0);
    await hears(0);
    const since = client.position(CHANNEL);
    await client.disconnect();
    await say(1);
    const later = await pair(url, {}, since);
    await later.hears(1);
    const all = await pair(url, {}, "all");
    await all.hears(0, 1);
    const none = await pair(url, {}, "new");
    await publisher.publish(CHANNEL, 2);
    await none.hears(2);
    await later.hears(1, 2);
    assert.deepEqual([...gaps, ...later.gaps, ...all.gaps, ...none.gaps], []);
  },

  /** The daemon dies and comes back: what it kept is gone, and that is told. */
  async restarted(url) {
    const { client, say, hears, heard, gaps, ...log } = await pair(url, { ack: true });
    await say(0);
    await hears(0);
    for (let time = 1; time < 3; time += 1) {
      await daemon("kill");
      await until("the loss to be noticed", () => client.state === "reconnecting");
      await daemon("restart");
      await until("another session", () => handshakes(log) > time && client.state === "connected");
      await say(time);
      await until("to hear again", () => heard.length > time);
      assert.equal(gaps.length, time);
    }
    await hears(0, 1, 2);
    assert.deepEqual(gaps, [[CHANNEL, undefined], [CHANNEL, undefined]]);
  },

  /** More is said than is kept: the newest is heard, and the rest is told. */
  async gone(url) {
    const all = await pair(url, {}, "all");
    const { say, hears, gaps } = all;
    await say(0);
    await hears(0);
    await lastingLoss(all, async () => {
      for (let n = 1; n < 6; n += 1) {
        await say(n);
      }
    });
    await hears(0, 3, 4, 5);
    assert.deepEqual(gaps, [[CHANNEL, undefined]]);
    await lastingLoss(all, () => say(6));
    await hears(0, 3, 4, 5, 6);
    assert.equal(gaps.length, 1);
  },
};

await scenario(async (url, part, ...words) => parts[part](url, ...words));
