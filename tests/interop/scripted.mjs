// encke.js against a server that is a script: what listeners, networks and servers do at the worst moment.
import assert from "node:assert/strict";
import { Client } from "../../src/pages/encke.js";
import { scenario, sleep, until } from "./scenario.mjs";

/** What is scripted is long-polling. */
const create = (options) => new Client("/", { transports: ["long-polling"], ...options });

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
