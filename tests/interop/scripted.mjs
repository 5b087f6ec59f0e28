// encke.js against a server that is a script: what listeners, networks and servers do at the worst moment.
import assert from "node:assert/strict";
import { Client } from "../../src/pages/encke.js";
import { scenario, sleep, until } from "./scenario.mjs";

/** What is scripted is long-polling. */
const create = (options) => new Client("http://localhost/", { transports: ["long-polling"], ...options });

/** In place of fetch: a server that grants everything and holds connects, unless `hook(messages)` has an answer. */
class Server {
  hook = () => undefined;
  requests = [];
  sessions = new Set();
  #held;
  #count = 0;

  fetch = async (_, { body, signal }) => {
    const messages = JSON.parse(body);
    this.requests.push(messages);
    const aborted = new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    const answering = sleep(1).then(() => this.hook(messages) ?? Promise.all(messages.map(this.#reply)));
    const answer = await Promise.race([aborted, answering]);
    return answer instanceof Response ? answer : new Response(JSON.stringify(answer));
  };

  #reply = async (message) => {
    const { channel, clientId, advice } = message;
    if (channel === "/meta/handshake") {
      this.#count += 1;
      this.sessions.add(`session ${this.#count}`);
      return { ...granted(message), clientId: `session ${this.#count}` };
    }
    if (channel === "/meta/connect" && !advice) {
      await new Promise((answer, lose) => (this.#held = { answer, lose }));
    }
    if (!this.sessions.has(clientId)) {
      return refusal(message, "402::session_unknown");
    }
    if (channel === "/meta/disconnect") {
      this.sessions.delete(clientId);
    }
    return granted(message);
  };

  /** The held connect breaks. */
  async cut() {
    await until("a held connect", () => this.#held);
    this.#held.lose(new Error("cut"));
    this.#held = undefined;
  }

  /** All sessions are forgotten, and the held connect learns it. */
  async forget() {
    await until("a held connect", () => this.#held);
    this.sessions.clear();
    this.#held.answer();
    this.#held = undefined;
  }

  /** All that was sent on this channel. */
  sent(channel) {
    return this.requests.flat().filter((message) => message.channel === channel);
  }
}

/**
 * A server that keeps events of all channels and batches that are not acknowledged, as the hook of a Server. It can be
 * told which answer gets lost: `lose(messages)`, asked when it has done what was asked of it.
 */
class Keeper {
  events = [];
  sessions = new Map();
  /** Whether it has acknowledgements; the oldest position that it knows. */
  acks = true;
  oldest = 0;
  /** Whether events say their numbers. */
  numbers = true;
  lose = () => false;
  #count = 0;

  hook = async (messages) => {
    const answers = [];
    for (const message of messages) {
      answers.push(...(await this.#answer(message)));
    }
    if (this.lose(messages)) {
      throw new Error("lost");
    }
    return answers;
  };

  async #answer(message) {
    const { channel, clientId, subscription, ext } = message;
    const session = this.sessions.get(clientId);
    if (channel === "/meta/handshake") {
      const clientId = `session ${(this.#count += 1)}`;
      this.sessions.set(clientId, { wants: new Map(), unsent: [], sent: [], batch: 0, wake() {} });
      return [{ ...granted(message), clientId, ext: { replay: ext.replay, ack: ext.ack && this.acks } }];
    }
    if (!session) {
      return [refusal(message, "402::session_unknown", { reconnect: "handshake" })];
    }
    if (channel === "/meta/subscribe") {
      const from = ext?.replay?.[subscription] ?? -1;
      session.wants.set(subscription, from);
      const lost = from >= 0 && (from < this.oldest || from > this.now);
      const kept = this.events.filter((event) => from !== -1 && this.#isFor(subscription, event, lost ? 0 : from));
      session.unsent.push(...kept);
      if (kept.length) {
        session.wake(true);
      }
      const gap = lost ? { [subscription]: -1 } : undefined;
      return [{ ...granted(message), ext: { replay: from === -1 ? { [subscription]: this.now } : undefined, gap } }];
    }
    return channel === "/meta/connect" ? this.#connect(message, session) : [granted(message)];
  }

  async #connect(message, session) {
    const { ack } = message.ext ?? {};
    session.wake(); // The newest connect gets the events.
    session.sent = session.sent.filter(({ batch }) => batch > ack);
    if (!session.sent.length && !session.unsent.length && !message.advice) {
      const newest = await new Promise((wake) => (session.wake = wake));
      if (!this.sessions.has(message.clientId)) {
        return [refusal(message, "402::session_unknown", { reconnect: "handshake" })];
      }
      if (!newest) {
        return [{ ...granted(message), ext: ack === undefined ? undefined : { ack: (session.batch += 1) } }];
      }
    }
    const batch = (session.batch += 1);
    const again = session.sent.map(({ event }) => event);
    const events = again.concat(session.unsent.splice(0));
    session.sent = ack === undefined ? [] : events.map((event) => ({ batch, event }));
    const said = this.numbers ? events : events.map(({ channel, data }) => ({ channel, data }));
    return [...said, { ...granted(message), ext: ack === undefined ? undefined : { ack: batch } }];
  }

  #isFor(subscription, { channel, ext }, from) {
    return (subscription === channel || subscription === "/**") && ext.replay.id > from;
  }

  get now() {
    return this.events.at(-1)?.ext.replay.id ?? this.oldest;
  }

  /** Keeps an event, and gives it to all who want it. Its number is not the next one. */
  say(channel, data) {
    const event = { channel, data, ext: { replay: { id: this.now + 3, epoch: "1" } } };
    this.events.push(event);
    for (const session of this.sessions.values()) {
      if ([...session.wants].some(([subscription]) => this.#isFor(subscription, event, 0))) {
        session.unsent.push(event);
        session.wake(true);
      }
    }
    return event.ext.replay.id;
  }

  /** All sessions are forgotten, and those who wait learn it; then there is nothing kept, either, if told. */
  forget(events) {
    const sessions = [...this.sessions.values()];
    this.sessions.clear();
    if (events) {
      this.oldest = this.now + 1_000;
      this.events = [];
    }
    sessions.forEach(({ wake }) => wake());
  }
}

/** A Keeper behind the server, a client of it, and what that hears of `/a` and of gaps. */
function keeping(server, options, keeper = new Keeper()) {
  server.hook = keeper.hook;
  const client = create({ retryMin: 1, retryMax: 1, ...options });
  const [heard, gaps] = [[], []];
  client.onGap((...gap) => gaps.push(gap));
  const listen = (since) => client.subscribe("/a", (data) => heard.push(data), { since });
  const acks = () => server.sent("/meta/connect").map(({ ext }) => ext?.ack);
  const asked = () => server.sent("/meta/subscribe").map(({ ext }) => ext?.replay);
  const hears = async (...numbers) => {
    await until(`to hear ${numbers}, not ${heard}`, () => heard.length >= numbers.length);
    await sleep(20);
    assert.deepEqual(heard, numbers);
  };
  return { keeper, client, heard, gaps, listen, acks, asked, hears };
}

/** WebSockets on which the Keeper answers; each frame comes when `gate` lets it. */
const socketsOf = (keeper, sent, gate = () => {}) =>
  class {
    readyState = 0;
    constructor() {
      this.constructor.newest = this;
      setTimeout(() => this.onopen((this.readyState = 1)), 1);
    }
    async send(text) {
      const messages = JSON.parse(text);
      sent.push(messages);
      const answer = messages.length ? await keeper.hook(messages) : [];
      await gate(messages, answer);
      this.onmessage?.({ data: JSON.stringify(answer) });
    }
    close() {
      this.readyState = 3;
    }
  };

const granted = ({ channel, id }, advice) => ({ channel, id, successful: true, advice });
const refusal = ({ channel, id }, error, advice) => ({ channel, id, successful: false, error, advice });
const tooMany = async () => new Response("slow down", { status: 429 });
const broken = async () => {
  throw new Error("broken");
};
/** Does this to requests that begin with this channel, as often as told. */
const on = (channel, act, times = Infinity) => (messages) =>
  messages[0].channel === channel && (times -= 1) >= 0 ? act(messages) : undefined;

/** Something that does not happen before it is let. */
function gate(act) {
  const one = {};
  const opened = new Promise((open) => Object.assign(one, { open }));
  one.act = (...words) => ((one.reached = true), opened.then(() => act?.(...words)));
  return one;
}

const rejects = (promise, code) => assert.rejects(promise, (error) => assert.equal(error.code, code) ?? true);
const connected = (client) => until("to be connected", () => client.state === "connected");
const once = (client, wanted, act) => {
  const end = client.onState((state) => state === wanted && (queueMicrotask(() => end()), act()));
};
const timers = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;

/** What was reported because nobody else heard of it. */
let reported;

const CASES = {
  async "a state listener disconnects when a publish notices a loss"(server, client) {
    await client.connect();
    let left;
    once(client, "reconnecting", () => (left = client.disconnect()));
    server.hook = broken;
    await rejects(client.publish("/a", 1), "lost");
    await left;
    assert.equal(client.state, "idle");
    server.hook = () => undefined;
    await client.connect();
    await client.publish("/a", 2);
  },

  async "what fails of an old life does not harm the new one"(server, client) {
    const subscribing = gate(broken);
    client.subscribe("/a", () => {});
    server.hook = on("/meta/subscribe", subscribing.act, 1);
    rejects(client.connect(), "ended");
    await until("the first life to subscribe", () => subscribing.reached);
    const leaving = gate();
    server.hook = on("/meta/disconnect", () => leaving.act().then(broken));
    client.disconnect();
    await client.connect();
    subscribing.open();
    await sleep(20);
    await client.publish("/a", 1);
    assert.equal(server.sent("/a")[0].clientId, "session 2");
    assert.equal(server.sent("/meta/handshake").length, 2);
    leaving.open();
  },

  async "an old life goes no further"(server, client) {
    Array.from({ length: 150 }, (_, n) => client.subscribe(`/a/${n}`, () => {}));
    const subscribing = gate((messages) => messages.map((message) => granted(message)));
    server.hook = on("/meta/subscribe", subscribing.act, 1);
    rejects(client.connect(), "ended");
    await until("the first batch", () => subscribing.reached);
    const left = client.disconnect();
    subscribing.open();
    await left;
    await sleep(20);
    assert.equal(server.sent("/meta/subscribe").length, 100);
    assert.deepEqual(server.sent("/meta/connect"), []);
  },

  async "a publish learns late that its session is gone"(server, client) {
    await client.connect();
    const publishing = gate(async (messages) => messages.map((message) => refusal(message, "402::session_unknown")));
    server.hook = on("/a", publishing.act, 1);
    const published = client.publish("/a", 1);
    await until("it to be sent", () => publishing.reached);
    await server.forget();
    await until("another session", () => server.sessions.size && client.state === "connected");
    const states = [];
    client.onState((state) => states.push(state));
    publishing.open();
    await published;
    assert.deepEqual(states, ["connected"]);
    assert.deepEqual(server.sent("/a").map(({ clientId }) => clientId), ["session 1", "session 2"]);
  },

  async "a server that forgets each session at once is asked less and less often"(server, client) {
    server.hook = (messages) =>
      messages[0].channel === "/meta/connect" && !messages[0].advice
        ? messages.map((message) => refusal(message, "402::session_unknown", { reconnect: "handshake" }))
        : undefined;
    client.connect();
    await sleep(500);
    assert.ok(server.requests.length < 30, `${server.requests.length} requests`);
  },

  async "a server that is back after an outage, without the session, is shaken hands with at once"(server) {
    const client = create({ retryMin: 20, retryMax: 2_000 });
    const states = [];
    client.onState((state, detail) => states.push([state, detail]));
    await client.connect();
    await server.cut();
    server.hook = broken;
    server.sessions.clear();
    await until("several tries", () => states.at(-1)[1].attempt >= 5);
    server.hook = () => undefined;
    await connected(client);
    const answered = states.find(([, detail]) => detail.reason === "402::session_unknown");
    assert.equal(answered[1].attempt, 1, "what failed before does not count against it");
    await client.disconnect();
  },

  async "who was connected for long starts with a short pause"(server) {
    const client = create({ retryMin: 10, retryMax: 20 });
    const attempts = [];
    client.onState((_, { attempt, retryAt }) => retryAt && attempts.push(attempt));
    for (let times = 0; times < 3; times += 1) {
      client.connect();
      await connected(client);
      await sleep(40);
      await server.cut();
      await until("to notice", () => attempts.length > times);
    }
    assert.deepEqual(attempts, [1, 1, 1]);
    await client.disconnect();
  },

  async "a subscription cancelled when its answer is lost"(server, client) {
    await client.connect();
    server.hook = on("/meta/subscribe", broken);
    const { ready, cancel } = client.subscribe("/a", () => {});
    await until("to notice", () => client.state === "reconnecting");
    const cancelled = cancel();
    await rejects(ready, "ended");
    server.hook = () => undefined;
    await cancelled;
    assert.equal(server.sent("/meta/unsubscribe").length, 1);
  },

  async "a subscription cancelled while its session is lost"(server, client) {
    await client.connect();
    await server.cut();
    server.hook = broken;
    await until("to notice", () => client.state === "reconnecting");
    const { ready, cancel } = client.subscribe("/a", () => {});
    await Promise.all([cancel(), rejects(ready, "ended")]);
    server.sessions.clear();
    server.hook = () => undefined;
    client.retryNow();
    await connected(client);
    assert.deepEqual(server.sent("/meta/subscribe"), []);
  },

  async "to cancel never rejects"(server, client) {
    await client.connect();
    const subscription = client.subscribe("/a", () => {});
    await subscription.ready;
    const cancelling = gate(broken);
    server.hook = on("/meta/unsubscribe", cancelling.act);
    const cancelled = subscription.cancel();
    await until("to cancel", () => cancelling.reached);
    const left = client.disconnect();
    cancelling.open();
    await Promise.all([left, cancelled]);
  },

  async "a refused subscription is reported unless somebody asked"(server, client) {
    await client.connect();
    server.hook = on("/meta/subscribe", async (messages) => messages.map((message) => refusal(message, "403::no")));
    client.subscribe("/a", () => {});
    await until("a report", () => reported.length > 0);
    assert.deepEqual(reported.splice(0).map(({ message }) => message), ["403::no"]);
    await rejects(client.subscribe("/a", () => {}).ready, "refused");
    assert.deepEqual(reported, []);
  },

  async "a subscription refused in haste was not refused by the server"(server, client) {
    for (const channel of ["/early", "/late"]) {
      server.hook = on("/meta/subscribe", tooMany, 1);
      const { ready } = client.subscribe(channel, () => {});
      client.connect();
      await ready;
      await connected(client);
    }
    assert.deepEqual(server.sent("/meta/subscribe").map(({ subscription }) => subscription), [
      ...["/early", "/early"],
      ...["/late", "/late"],
    ]);
  },

  async "what is refused in haste between connects is not said again at once"(server, client) {
    const seldom = on("/meta/connect", async ([message]) => [granted(message, { interval: 3_600_000 })]);
    const never = on("/meta/subscribe", tooMany);
    server.hook = (messages) => seldom(messages) ?? never(messages);
    await client.connect();
    client.subscribe("/a", () => {});
    await sleep(500);
    assert.ok(server.requests.length < 30, `${server.requests.length} requests`);
    // Who leaves at this moment is heard.
    let left;
    client.onState((_, { attempt }) => attempt === 0 && (left = client.disconnect()));
    client.retryNow();
    await until("to leave", () => left);
    await left;
    assert.equal(server.sessions.size, 0);
  },

  async "a state listener disconnects before a pause"(server, client) {
    const before = timers();
    server.hook = on("/meta/connect", async ([message]) => [granted(message, { interval: 3_600_000 })]);
    once(client, "connected", () => client.disconnect());
    await rejects(client.connect(), "ended");
    await until("all timers to end", () => timers() <= before);
  },

  async "a state listener disconnects while it is told to connect"(server, client) {
    once(client, "connecting", () => client.disconnect());
    await rejects(client.connect(), "ended");
    assert.equal(client.state, "idle");
    assert.deepEqual(server.requests, []);
  },

  async "later listeners are not told a state that is over, and no timer stays"(server) {
    const client = create({ retryMin: 3_600_000, retryMax: 3_600_000 });
    const before = timers();
    await client.connect();
    const seen = [];
    once(client, "reconnecting", () => client.disconnect());
    client.onState((state) => seen.push(state));
    await server.cut();
    await until("the end", () => client.state === "idle");
    assert.deepEqual(seen, ["connected", "idle"]);
    await until("all timers to end", () => timers() <= before);
  },

  async "a state listener wants no pause"(server) {
    const client = create({ retryMin: 3_600_000, retryMax: 3_600_000 });
    await client.connect();
    await server.cut();
    const states = [];
    client.onState((state, { retryAt }) => states.push(state) && retryAt && client.retryNow());
    await until("to be back", () => states.length > 1 && states.at(-1) === "connected");
    await client.disconnect();
  },

  async "a loss is one of all that is under way"(server) {
    const client = create({ requestTimeout: 3_600_000 });
    await client.connect();
    server.hook = on("/black/hole", () => new Promise(() => {}));
    const swallowed = client.publish("/black/hole", 1);
    await until("it to be sent", () => server.sent("/black/hole").length);
    await server.cut();
    await rejects(swallowed, "lost");
    await client.publish("/after", 1);
    await client.disconnect();
  },

  async "what is subscribed and cancelled at once leaves nothing behind"(server) {
    const client = create({ maxQueue: 3 });
    await client.connect();
    await client.subscribe("/stays", () => {}).ready;
    await server.cut();
    server.hook = broken;
    await until("to notice", () => client.state === "reconnecting");
    for (let n = 0; n < 100; n += 1) {
      client.subscribe(`/a/${n}`, () => {}).cancel();
      client.subscribe(`/b/${n}`, () => {});
    }
    const waiting = [1, 2, 3].map((n) => client.publish("/c", n));
    await rejects(client.publish("/c", 4), "queue_full");
    server.hook = () => undefined;
    server.requests.length = 0;
    client.retryNow();
    await Promise.all(waiting);
    assert.equal(server.sent("/meta/subscribe").length, 100);
    assert.deepEqual(server.sent("/meta/unsubscribe"), []);
    await client.disconnect();
  },

  async "what waits when the server refuses was never sent"(server, client) {
    const never = { reconnect: "none" };
    server.hook = async (messages) => messages.map((message) => refusal(message, "403::no", never));
    await Promise.all([rejects(client.publish("/a", 1), "ended"), rejects(client.connect(), "refused")]);
  },

  async "an answer of nonsense is a loss in words"(server, client) {
    server.hook = async () => [null, 1, {}];
    client.connect();
    const reasons = [];
    client.onState((_, { reason }) => reason && reasons.push(reason));
    await until("it to fail", () => reasons.length);
    assert.equal(reasons[0], "the answer has no reply to this message");
  },

  async "batches are acknowledged, and what was lost comes again"(server) {
    const { keeper, client, listen, acks, hears } = keeping(server, { ack: true });
    keeper.numbers = false;
    listen();
    await client.connect();
    assert.deepEqual(server.sent("/meta/handshake")[0].ext, { replay: true, ack: true });
    await until("a held connect", () => acks().length === 2);
    keeper.say("/a", 1);
    keeper.say("/a", 2);
    await hears(1, 2);
    let lost = 3;
    keeper.lose = ([{ channel }]) => channel === "/meta/connect" && (lost -= 1) >= 0;
    keeper.say("/a", 3);
    keeper.say("/a", 4);
    await until("some answers to be lost", () => lost < 0);
    await hears(1, 2, 3, 4);
    keeper.say("/a", 5);
    await hears(1, 2, 3, 4, 5);
    const numbers = acks();
    assert.equal(numbers[0], -1);
    assert.equal(numbers[1], 1);
    assert.ok(numbers.filter((n) => n === numbers[3]).length > 3, `${numbers}: as long as answers are lost`);
    assert.ok(numbers.every((n, at) => n >= (numbers[at - 1] ?? -1)), `${numbers}`);
    keeper.forget();
    await until("another session", () => server.sent("/meta/handshake").length === 2);
    const since = () => acks().slice(numbers.length);
    await until("it to have numbers of its own", () => since().includes(-1) && since().at(-1) > 0);
    await client.disconnect();
  },

  async "what a listener throws away is not acknowledged before it has heard it"(server) {
    const { keeper, client, acks } = keeping(server, { ack: true });
    let before;
    client.subscribe("/a", () => (before = acks().at(-1)));
    client.onWire((direction, messages) => {
      if (direction === "out" && messages[0].ext?.ack > 1) {
        assert.equal(before, 1, "heard first");
      }
    });
    await client.connect();
    keeper.say("/a", 1);
    await until("that to be acknowledged", () => acks().at(-1) > 1);
    await client.disconnect();
  },

  async "without acknowledgements by the server, or by the option, there are none"(server) {
    for (const ack of [true, false]) {
      const { keeper, client, listen, acks, hears } = keeping(server, { ack });
      keeper.acks = false;
      listen();
      server.requests.length = 0;
      await client.connect();
      keeper.say("/a", 1);
      await hears(1);
      assert.deepEqual(new Set(acks()), new Set([undefined]));
      assert.equal("ack" in server.sent("/meta/handshake")[0].ext, ack);
      await client.disconnect();
    }
  },

  async "with acknowledgements there is no eventsource"(server) {
    const options = { EventSource: class {}, transports: ["eventsource", "long-polling"] };
    const { client } = keeping(server, { ...options, ack: true });
    assert.match(client.transports[0].why, /option ack/);
    await client.connect();
    assert.deepEqual(server.sent("/meta/handshake")[0].supportedConnectionTypes, ["long-polling"]);
    await client.disconnect();
    assert.equal(create(options).transports[0].usable, true);
  },

  async "acknowledged events come once when another transport takes over, whichever answer is late"(server) {
    for (const late of ["the poll", "the WebSocket", "none, for the WebSocket breaks"]) {
      const [keeper, frames, poll, frame] = [new Keeper(), [], gate(), gate()];
      const isConnect = ([message]) => message?.channel === "/meta/connect";
      keeper.numbers = false;
      const WebSocket = socketsOf(keeper, frames, (messages) => isConnect(messages) && frame.act());
      const transports = ["websocket", "long-polling"];
      const { client, listen, acks, hears } = keeping(server, { ack: true, transports, WebSocket }, keeper);
      server.requests.length = 0;
      server.hook = async (messages) => {
        const answer = await keeper.hook(messages);
        await (isConnect(messages) && answer.length > 1 && poll.act());
        return answer.map((reply) => (reply.clientId ? { ...reply, supportedConnectionTypes: transports } : reply));
      };
      listen();
      await client.connect();
      await until("a held poll", () => acks().length === 2);
      keeper.say("/a", 1);
      await until("both to have the event", () => poll.reached && frame.reached);
      const [first, second] = late === "the poll" ? [frame, poll] : [poll, frame];
      first.open();
      await sleep(20);
      late.startsWith("none") ? WebSocket.newest.onclose({ code: 1006, reason: "" }) : second.open();
      await hears(1);
      keeper.say("/a", 2);
      await hears(1, 2);
      assert.equal(client.transport, late.startsWith("none") ? "long-polling" : "websocket", late);
      await client.disconnect();
    }
  },

  async "a new session goes on where the one before it ended"(server) {
    const { keeper, client, listen, asked, hears, gaps } = keeping(server);
    listen();
    await client.connect();
    keeper.say("/a", 1);
    const position = keeper.say("/a", 2);
    await hears(1, 2);
    assert.equal(client.position("/a"), position);
    assert.equal(client.position("/b"), undefined);
    keeper.forget();
    keeper.say("/a", 3);
    keeper.say("/a", 4);
    await hears(1, 2, 3, 4);
    assert.deepEqual(asked(), [{ "/a": -1 }, { "/a": position }]);
    assert.deepEqual(gaps, []);
    await client.disconnect();
    const next = keeper.say("/a", 5);
    await client.connect();
    await hears(1, 2, 3, 4, 5);
    assert.equal(client.position("/a"), next, "so does the next life");
    await client.disconnect();
  },

  async "a new session goes on from what the subscription's reply said if no event came"(server) {
    const { keeper, client, listen, asked, hears } = keeping(server);
    keeper.oldest = 7;
    await listen().ready.catch(() => {}, client.connect());
    assert.equal(client.position("/a"), 7);
    keeper.forget();
    keeper.say("/a", 1);
    await hears(1);
    assert.deepEqual(asked(), [{ "/a": -1 }, { "/a": 7 }]);
    await client.disconnect();
  },

  async "what has a number that was heard is not heard again"(server) {
    const { keeper, client, listen, hears } = keeping(server);
    listen();
    const all = [];
    client.subscribe("/**", (data) => all.push(data), { since: "all" });
    keeper.say("/a", 0);
    await client.connect();
    keeper.say("/a", 1);
    keeper.say("/a", 2);
    await hears(1, 2);
    const [session] = keeper.sessions.values();
    session.unsent.push(...keeper.events);
    session.wake(true);
    keeper.say("/a", 3);
    await hears(1, 2, 3);
    assert.deepEqual(all, [0, 1, 2, 3], "each subscription has its own position");
    await client.disconnect();
  },

  async "what is read late for one subscription is heard by the others that want it"(server) {
    const { keeper, client, listen, hears } = keeping(server);
    const all = [];
    client.subscribe("/**", (data) => all.push(data));
    await client.connect();
    listen("all");
    const first = keeper.say("/a", 1);
    keeper.say("/b", 2);
    const [session] = keeper.sessions.values();
    await hears(1);
    keeper.say("/a", 3);
    keeper.say("/b", 4);
    // The channel that is read comes behind the one that is pushed.
    session.unsent.sort((one, other) => (one.channel < other.channel ? 1 : -1));
    await hears(1, 3);
    await until("all", () => all.length === 4);
    assert.equal(client.position("/**"), keeper.now);
    assert.ok(client.position("/**") > first);
    await client.disconnect();
  },

  async "a subscription begins where it is told to"(server) {
    const { keeper, client, heard, listen, asked } = keeping(server);
    const [first] = [keeper.say("/a", 1), keeper.say("/a", 2), keeper.say("/a", 3)];
    await client.connect();
    for (const [since, what, asks] of [["all", [1, 2, 3], -2], [first, [2, 3], first], ["new", [], -1]]) {
      const { cancel, ready } = listen(since);
      await ready;
      await until(`what there is since ${since}`, () => heard.length >= what.length);
      await sleep(20);
      assert.deepEqual(heard.splice(0), what);
      assert.deepEqual(asked().at(-1), { "/a": asks });
      assert.equal(client.position("/a"), keeper.now);
      await cancel();
      assert.equal(client.position("/a"), undefined);
    }
    for (const since of ["yesterday", 1.5, NaN, {}]) {
      assert.throws(() => listen(since), TypeError);
    }
    listen(null); // As a storage says that there is nothing.
    await client.disconnect();
  },

  async "all that is kept is not forgotten before it has come"(server) {
    const { keeper, client, listen, asked, hears, gaps } = keeping(server);
    const first = keeper.say("/a", 1);
    keeper.say("/a", 2);
    let lost = 0;
    keeper.lose = ([{ channel }]) => channel === "/meta/connect" && (lost += 1) === 1 && !keeper.forget();
    listen(first);
    client.subscribe("/none", () => {}, { since: "all" });
    client.connect();
    await hears(2);
    assert.deepEqual(asked(), [{ "/a": first }, { "/none": -2 }, { "/a": first }, { "/none": -2 }]);
    assert.equal(client.position("/none"), undefined);
    assert.deepEqual(gaps, []);
    await client.disconnect();
  },

  async "a gap is told until there is an event, and what is kept is heard"(server) {
    const { keeper, client, listen, asked, hears, gaps } = keeping(server);
    listen();
    await client.connect();
    keeper.say("/a", 1);
    await hears(1);
    const before = keeper.now;
    keeper.forget(true);
    keeper.say("/a", 2);
    await hears(1, 2);
    assert.deepEqual(gaps, [["/a", undefined]]);
    assert.deepEqual(asked().at(-1), { "/a": before });
    assert.equal(client.position("/a"), keeper.now);
    keeper.forget(true);
    await until("another gap", () => gaps.length === 2);
    keeper.forget();
    await until("the same gap", () => gaps.length === 3);
    keeper.say("/a", 3);
    await hears(1, 2, 3);
    keeper.forget();
    keeper.say("/a", 4);
    await hears(1, 2, 3, 4);
    assert.equal(gaps.length, 3);
    await client.disconnect();
  },

  async "numbers of another life of the server may be lower"(server) {
    const { keeper, client, listen, hears, gaps } = keeping(server);
    listen(1_000_000);
    keeper.say("/a", 1);
    await client.connect();
    keeper.say("/a", 2);
    await hears(1, 2);
    assert.deepEqual(gaps, [["/a", undefined]]);
    await client.disconnect();
  },

  async "a gap that the answer to a connect tells comes before its events"(server) {
    const { keeper, client, heard, listen, gaps } = keeping(server);
    listen();
    const end = client.onGap((channel, count) => heard.push(`${channel} ${count}`));
    client.onGap(() => {
      throw new Error("a listener's own");
    });
    server.hook = async (messages) => {
      const answer = await keeper.hook(messages);
      if (answer.length > 1) {
        answer.at(-1).ext = { gap: { "/a": 4, "/b/*": -1 } };
      }
      return answer;
    };
    await client.connect();
    keeper.say("/a", 1);
    await until("all", () => heard.length === 3);
    assert.deepEqual(heard, ["/a 4", "/b/* undefined", 1]);
    assert.equal(reported.splice(0).length, 2);
    assert.deepEqual(gaps, [["/a", 4], ["/b/*", undefined]]);
    end();
    await client.disconnect();
  },

  async "a position that is refused is a gap, and all that is kept is asked for"(server) {
    const { keeper, client, listen, asked, hears, gaps } = keeping(server);
    const invalid = "400::The replayId {99} you provided was invalid. Please provide a valid ID.";
    const isOld = ({ ext, subscription }) => ext?.replay?.[subscription] >= 0;
    server.hook = (messages) =>
      messages.some(isOld) ? Promise.resolve(messages.map((one) => refusal(one, invalid))) : keeper.hook(messages);
    const { ready } = listen(99);
    keeper.say("/a", 1);
    client.publish("/b", 1);
    await client.connect();
    await ready;
    await hears(1);
    assert.deepEqual(gaps, [["/a", undefined]]);
    assert.deepEqual(asked(), [{ "/a": 99 }, { "/a": -2 }]);
    const channels = server.requests.flat().map(({ channel }) => channel);
    assert.ok(channels.lastIndexOf("/meta/subscribe") < channels.indexOf("/b"), "before anything is published");
    // All is refused, too: that is final.
    server.hook = on("/meta/subscribe", async ([message]) => [refusal(message, invalid)]);
    await rejects(client.subscribe("/c", () => {}, { since: "all" }).ready, "refused");
    await client.disconnect();
  },

  async "numbers within the data count where the server has them there, and nowhere else"(server) {
    const { keeper, client, heard, listen, asked } = keeping(server);
    const shaped = (answer) =>
      answer.map(({ ext, ...event }) =>
        event.data === undefined || event.channel !== "/a"
          ? { ...event, ...(event.data === undefined && { ext }) }
          : { ...event, data: { event: { replayId: ext.replay.id }, n: event.data } },
      );
    server.hook = async (messages) => {
      const answer = shaped(await keeper.hook(messages));
      messages.forEach((message, at) => message.subscription === "/a" && delete answer[at].ext);
      return answer;
    };
    listen();
    const plain = [];
    client.subscribe("/plain", (data) => plain.push(data.event.replayId));
    keeper.oldest = 8;
    await client.connect();
    const position = keeper.say("/a", 1);
    for (const replayId of [2 ** 50, 1, 1]) {
      keeper.say("/plain", { event: { replayId } });
    }
    await until("all", () => heard.length === 1 && plain.length === 3);
    assert.deepEqual(plain, [2 ** 50, 1, 1]);
    assert.equal(client.position("/plain"), 8);
    assert.equal(client.position("/a"), position);
    keeper.forget();
    keeper.say("/a", 2);
    await until("the other one", () => heard.length === 2);
    assert.deepEqual(heard.map(({ n }) => n), [1, 2]);
    assert.deepEqual(asked().slice(2), [{ "/a": position }, { "/plain": 8 }]);
    await client.disconnect();
  },

  async "a server without histories is not asked for them, and what is not known is told"(server, client) {
    const gaps = [];
    client.onGap((...gap) => gaps.push(gap));
    client.subscribe("/a", () => {});
    const { ready } = client.subscribe("/b", () => {}, { since: 5 });
    client.subscribe("/c", () => {}, { since: "all" });
    await client.connect();
    await ready;
    assert.deepEqual(gaps, [["/b", undefined]]);
    await server.forget();
    await until("another session", () => server.sent("/meta/subscribe").length === 6);
    await connected(client);
    assert.equal(gaps.length, 2, "each session may have lost something");
    assert.ok(server.sent("/meta/subscribe").every(({ ext }) => ext === undefined));
  },

  async "all positions of a new session go in one request before the first connect"(server) {
    const { keeper, client, acks } = keeping(server);
    const channels = Array.from({ length: 90 }, (_, n) => `/many/${n}`);
    channels.forEach((channel) => client.subscribe(channel, () => {}));
    keeper.oldest = 5;
    await client.connect();
    await until("a held connect", () => acks().length >= 2);
    keeper.forget();
    await until("another connect", () => acks().length >= 3);
    const again = server.requests.findLastIndex(([{ channel }]) => channel === "/meta/handshake");
    const [handshake, subscribes, connect] = server.requests.slice(again);
    assert.equal(handshake[0].channel, "/meta/handshake");
    assert.deepEqual(subscribes.map(({ ext }) => ext.replay), channels.map((channel) => ({ [channel]: 5 })));
    assert.equal(connect[0].channel, "/meta/connect");
    await client.disconnect();
  },

  async "a listener may leave, and ask for the position, while it hears"(server) {
    const { keeper, client } = keeping(server);
    const positions = [];
    let left;
    client.subscribe("/a", () => {
      positions.push(client.position("/a"));
      left = client.disconnect();
    });
    client.subscribe("/**", () => {});
    await client.connect();
    const position = keeper.say("/a", 1);
    keeper.say("/a", 2);
    await until("to leave", () => left);
    await left;
    assert.deepEqual(positions, [position]);
  },
};

await scenario(async () => {
  globalThis.reportError = (error) => reported.push(error);
  for (const [name, act] of Object.entries(CASES)) {
    console.log(name);
    reported = [];
    const server = new Server();
    globalThis.fetch = server.fetch;
    const client = create();
    await act(server, client);
    await client.disconnect();
    assert.deepEqual(reported, [], name);
  }
});
