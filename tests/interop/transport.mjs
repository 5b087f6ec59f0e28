// One transport of encke.js after the other, and how it gets from one to the next. Between the client and the daemon
// stands a proxy that breaks what it is told to break. Word: which part.
import assert from "node:assert/strict";
import { connected, inbox, journal, scenario, sleep, until } from "./lib.mjs";
import { relay } from "./relay.mjs";

/** For where all transports work: none is given up because the machine is busy. */
const PATIENT = { openTimeout: 60_000 };

/** Publishes numbers until it is told to stop; then gives their count. */
function counting(publisher, channel, pause) {
  let stopped = false;
  const done = (async () => {
    for (let n = 0; ; n += 1) {
      if (stopped) {
        return n;
      }
      await publisher.publish(channel, n);
      await sleep(pause * Math.random());
    }
  })();
  return () => ((stopped = true), done);
}

/** Exactly these numbers, in order. */
async function counted(heard, count) {
  await heard.holds(count);
  await sleep(200);
  const numbers = heard.events.map(([, data]) => data);
  assert.deepEqual(numbers, Array.from({ length: count }, (_, n) => n), "lost, doubled or out of order");
}

/** A client behind a relay, what it hears of /count, and a second one that publishes there directly. */
async function pair(url, options, setup = () => {}) {
  const proxy = await relay(url);
  setup(proxy);
  const log = journal(proxy.url, { upgradeMin: 300, upgradeMax: 1_000, openTimeout: 1_000, ...options });
  const heard = inbox();
  const subscription = log.client.subscribe("/count", (data, { channel }) => heard.listener(data, channel));
  await log.client.connect();
  await subscription.ready;
  const publisher = await connected("encke", url, { transports: ["long-polling"] });
  return { ...log, proxy, heard, publisher };
}

const live = (client, name) => until(`${name} to be live, not ${client.transport}`, () => client.transport === name);
const handshakes = ({ sent }) => sent.flat().filter(({ channel }) => channel === "/meta/handshake").length;
/** The states, without repetitions and without the way there. */
const since = ({ states }) => states.slice(states.indexOf("connected"));

const parts = {
  /** Forced from one to another all the time, in every order, while events come. */
  async switching(url) {
    const { client, heard, publisher, ...log } = await pair(url, PATIENT, (proxy) => (proxy.lag = 60));
    const names = client.transports.filter(({ usable }) => usable).map(({ name }) => name);
    assert.deepEqual(names, ["websocket", "streaming", "eventsource", "long-polling"]);
    const stop = counting(publisher, "/count", 4);
    const own = inbox();
    await client.subscribe("/own", (data, { channel }) => own.listener(data, channel)).ready;
    const stopOwn = counting(client, "/own", 4);
    const moves = new Set();
    // Until enough has come in the midst of it, however slow the machine is.
    for (let round = 0; round < 4 || heard.events.length <= 200; round += 1) {
      for (const from of names) {
        for (const to of names.filter((name) => name !== from)) {
          await client.use(from);
          await sleep(60 * Math.random());
          await client.use(to);
          assert.equal(client.transport, to);
          moves.add(`${from} ${to}`);
          await sleep(120 * Math.random());
        }
      }
    }
    assert.equal(moves.size, 12);
    await counted(heard, await stop());
    await counted(own, await stopOwn());
    await client.use();
    await live(client, "websocket");
    assert.equal(handshakes(log), 1, "one session all the time");
    assert.deepEqual(since(log), ["connected"]);
  },

  /** A proxy that knows no WebSocket: the next best serves, and nothing is to be seen of it. */
  async refused(url) {
    const { client, heard, publisher, proxy, ...log } = await pair(url, {}, (proxy) => (proxy.upgrade = "refuse"));
    const stop = counting(publisher, "/count", 10);
    await live(client, "streaming");
    await until("some tries", () => proxy.upgrades >= 3);
    assert.match(client.transports[0].why, /closed/);
    // The tries get rarer.
    proxy.upgrade = "pass";
    await live(client, "websocket");
    await counted(heard, await stop());
    assert.equal(handshakes(log), 1);
    assert.deepEqual(since(log), ["connected"]);
  },

  /** A WebSocket that opens and says nothing; one that closes at once; one that never opens. */
  async silent(url) {
    for (const upgrade of ["mute", "die", "hang"]) {
      const all = await pair(url, { requestTimeout: 3_000 }, (proxy) => (proxy.upgrade = upgrade));
      const { client, heard, publisher, proxy } = all;
      const stop = counting(publisher, "/count", 10);
      await live(client, "streaming");
      assert.ok(proxy.upgrades >= 1, upgrade);
      proxy.upgrade = "pass";
      await live(client, "websocket");
      await counted(heard, await stop());
      assert.equal(handshakes(all), 1);
      assert.deepEqual(since(all), ["connected"], upgrade);
      await client.disconnect();
      proxy.close();
    }
  },

  /** A WebSocket that is cut while it serves: another transport goes on in the same session, and then it comes back. */
  async dropped(url) {
    const { client, heard, publisher, proxy, ...log } = await pair(url, {});
    await live(client, "websocket");
    await publisher.publish("/count", 0);
    await heard.holds(1);
    proxy.upgrade = "refuse";
    proxy.cut();
    await publisher.publish("/count", 1);
    await heard.holds(2);
    await live(client, "streaming");
    await publisher.publish("/count", 2);
    proxy.upgrade = "pass";
    await live(client, "websocket");
    await publisher.publish("/count", 3);
    await counted(heard, 4);
    assert.equal(handshakes(log), 1);
    assert.deepEqual(since(log), ["connected", "reconnecting", "connected"]);
  },

  /** A proxy that keeps answers back until they are long or over: streams do not work there, and nothing is lost. */
  async buffered(url, who) {
    // Either the client notices first, or the server, which then advises long-polling.
    const options = { openTimeout: who === "server" ? 20_000 : 500, upgradeMax: 60_000 };
    const setup = (proxy) => Object.assign(proxy, { upgrade: "refuse", buffer: 32 * 1024 });
    const { client, heard, publisher, ...log } = await pair(url, options, setup);
    const stop = counting(publisher, "/count", 10);
    const streams = () => log.sent.flat().filter(({ connectionType }) => connectionType === "streaming").length;
    await until("streaming to be given up", () => /back|no answer/.test(client.transports[1].why));
    await sleep(1_500);
    assert.equal(client.transport, "long-polling");
    assert.equal(streams(), 1, "it is not tried again soon");
    assert.match(client.transports[2].why, /back|no answer/, "what keeps one stream back keeps back the other");
    const advised = log.received.flat().some(({ advice }) => advice?.["connection-type"] === "long-polling");
    assert.equal(advised, who === "server");
    await counted(heard, await stop());
    assert.equal(handshakes(log), 1);
    assert.deepEqual(since(log), ["connected"]);
  },

  /** One that was asked for and does not work leaves the one that does as it is. */
  async kept(url) {
    const options = { openTimeout: 300, connectMargin: 300, transports: ["websocket", "streaming"] };
    const { client, heard, publisher, ...log } = await pair(url, options, (proxy) => (proxy.buffer = 32 * 1024));
    const stop = counting(publisher, "/count", 10);
    await assert.rejects(client.use("streaming"), { code: "unavailable" });
    assert.equal(client.transport, "websocket");
    await sleep(2_000); // Longer than a connect is held: it was sent again.
    await client.use();
    await counted(heard, await stop());
    assert.equal(handshakes(log), 1);
    assert.deepEqual(since(log), ["connected"]);
  },

  /** Streams that end of age are opened again, with events coming all the while. */
  async aged(url, name) {
    const { client, heard, publisher, ...log } = await pair(url, { ...PATIENT, transports: [name, "long-polling"] });
    await live(client, name);
    const stop = counting(publisher, "/count", 4);
    const connects = () => log.sent.flat().filter(({ connectionType }) => connectionType === name).length;
    const before = connects();
    await until("some more streams", () => connects() >= before + 4);
    assert.equal(client.transport, name);
    await counted(heard, await stop());
    assert.equal(handshakes(log), 1);
    assert.deepEqual(since(log), ["connected"]);
  },

  /** Without long-polling, what there is serves from the beginning. */
  async alone(url, name) {
    const { client, heard, publisher, ...log } = await pair(url, { ...PATIENT, transports: [name] });
    assert.equal(client.transport, name);
    const other = name === "streaming" ? "websocket" : "streaming";
    await assert.rejects(client.use(other), { code: "unavailable", message: /left out/ });
    const stop = counting(publisher, "/count", 4);
    await sleep(300);
    await counted(heard, await stop());
    const types = new Set(log.sent.flat().map(({ connectionType }) => connectionType).filter(Boolean));
    assert.deepEqual([...types], [name]);
    assert.equal((await client.publish("/service/x", 1)).successful, true);
    await client.disconnect();
    assert.equal(client.transport, undefined);
  },

  /** What the server or the platform has not is said, and not tried. */
  async lacking(url) {
    const { client, sent } = await pair(url, { ...PATIENT, EventSource: undefined });
    await live(client, "streaming");
    await sleep(300);
    const why = Object.fromEntries(client.transports.map((one) => [one.name, one.why]));
    assert.match(why.eventsource, /^not in this environment/);
    assert.match(why.websocket, /^not offered/);
    assert.equal(client.transport, "streaming");
    await assert.rejects(client.use("websocket"), { code: "unavailable" });
    await assert.rejects(client.use("smoke signals"), { code: "unavailable" });
    const offers = sent.flat().find(({ channel }) => channel === "/meta/handshake").supportedConnectionTypes;
    assert.deepEqual(offers, ["websocket", "streaming", "long-polling"]);
    assert.equal(client.transport, "streaming");
  },

  /** A server that is gone without a word is noticed: by a WebSocket, and by a stream. */
  async vanished(url) {
    for (const name of ["websocket", "streaming"]) {
      const { client, heard, publisher, proxy, ...log } = await pair(url, {
        transports: [name, "long-polling"],
        ...PATIENT,
        connectMargin: 2_000,
        silence: 3_000,
        upgradeMin: 60_000,
      });
      await live(client, name);
      // Quiet, but not dead: heartbeats or connects go to and fro.
      await sleep(2_500);
      assert.equal(client.transport, name);
      proxy.freeze();
      await until("that to be noticed", () => client.transport === "long-polling");
      await publisher.publish("/count", 0);
      await counted(heard, 1);
      assert.equal(handshakes(log), 1);
    }
  },
};

await scenario(async (url, part, ...words) => parts[part](url, ...words));
