// The demo: a chat on one channel, and a view of what encke.js sends and receives for it.
// Whatever came from somebody else becomes text, never markup.
import { Client } from "/encke.js";

const CHANNEL = "/chat/demo";
const MOUNT = document.body.dataset.mount;
const MOST_MESSAGES = 200;
const MOST_ROWS = 200;
const LONGEST = { name: 24, text: 500 };

const $ = (id) => document.getElementById(id);

/** An element with a class and text or children. */
function make(tag, className, ...inside) {
  const element = document.createElement(tag);
  element.className = className;
  element.append(...inside);
  return element;
}

/** The first so many characters; never half of one. */
const cut = (text, most) => [...text].slice(0, most).join("");

const client = new Client(MOUNT);

// ---- The name: what was typed is for all tabs and days; one made up is this tab's, so that two tabs differ.

const FIRST = "Amber Brisk Calm Eager Fleet Gentle Icy Keen Lucky Nimble Quiet Vivid".split(" ");
const LAST = "Comet Halley Meteor Moon Nebula Nova Orbit Pulsar Quasar Rigel Titan Vega".split(" ");
const pick = (list) => list[Math.floor(Math.random() * list.length)];

/** Storage may be forbidden; then the name lasts as long as the page. */
function stored(storage, value) {
  try {
    return value === undefined ? window[storage].getItem("encke-name") : window[storage].setItem("encke-name", value);
  } catch {
    return null;
  }
}

let name = stored("localStorage") || stored("sessionStorage");
if (!name) {
  name = `${pick(FIRST)} ${pick(LAST)}`;
  stored("sessionStorage", name);
}
$("name").value = name;
$("name").setAttribute("aria-label", "Your name");
$("name").addEventListener("change", () => {
  const typed = $("name").value.trim();
  if (typed) {
    name = cut(typed, LONGEST.name);
    stored("localStorage", name);
  }
  $("name").value = name;
});
$("name").addEventListener("keydown", (event) => event.key === "Enter" && $("text").focus());

// ---- The chat.

/** Messages on the page by their id, to know one's own and to show each once. */
const shown = new Map();
let newest;

const OPENED = Date.now();
/** Stands below what was said before the page was opened, if that was long ago. */
const divider = make("p", "mark", "Now");
const LONG_AGO = 60_000;

const hueOf = (text) => [...text].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 360, 7);

/** The time of day, and the day if it is another one. */
function clockTime(date) {
  const day = date.toDateString() === new Date().toDateString() ? {} : { day: "numeric", month: "short" };
  return date.toLocaleString([], { ...day, hour: "2-digit", minute: "2-digit" });
}

function show({ id, name: author, text, at, own }) {
  $("empty").hidden = true;
  const now = new Date(at);
  const old = OPENED - at > LONG_AGO;
  const time = make("time", "", clockTime(now));
  time.dateTime = now.toISOString();
  const fate = make("span", "fate");
  const face = make("span", "face", [...author][0] ?? "?");
  face.setAttribute("aria-hidden", "true");
  const who = make("div", "who", make("b", "", author), time, fate);
  const element = make("div", own ? "message own" : "message", face, who, make("p", "text", text));
  element.style.setProperty("--hue", hueOf(author));
  if (!own && newest?.author === author && newest.old === old && now - newest.at < 60_000) {
    element.classList.add("more");
  }
  newest = { author: own ? undefined : author, at: now, old };
  const log = $("log");
  stayingAtEnd(() => log.append(element, ...(old ? [divider] : [])));
  if (own) {
    log.scrollTop = log.scrollHeight;
  }
  if (id !== undefined) {
    shown.set(id, element);
  }
  while (log.children.length > MOST_MESSAGES + 1) {
    const oldest = log.children[1]; // The first is the sign that there is nothing.
    oldest.remove();
    shown.forEach((other, key) => other === oldest && shown.delete(key));
  }
  return element;
}

const isAtEnd = (log) => log.scrollHeight - log.scrollTop - log.clientHeight < 80;

/** Whoever reads the newest goes on to see it; whoever reads further up stays there. */
function stayingAtEnd(change) {
  const log = $("log");
  const wasAtEnd = isAtEnd(log);
  change();
  if (wasAtEnd) {
    log.scrollTop = log.scrollHeight;
  }
}

/** The same when its size changes: where it was has to be known from before. */
let readsNewest = true;
$("log").addEventListener("scroll", () => (readsNewest = isAtEnd($("log"))), { passive: true });
new ResizeObserver(([{ target }]) => {
  if (readsNewest) {
    target.scrollTop = target.scrollHeight;
  }
}).observe($("log"));

function setFate(element, fate, ...words) {
  stayingAtEnd(() => {
    element.dataset.fate = fate;
    element.querySelector(".fate").replaceChildren(...words);
  });
}

async function send(element, message) {
  const begun = performance.now();
  const direct = client.state === "connected";
  setFate(element, ...(direct ? ["sending", "sending"] : ["waiting", "waits for the server"]));
  try {
    await client.publish(CHANNEL, message);
    if (direct) {
      showTrip(performance.now() - begun);
    }
    setFate(element, "sent", "sent");
  } catch (error) {
    if (element.dataset.fate === "sent") {
      return; // Its event came, though the answer did not.
    }
    const again = make("button", "quiet", "Send again");
    again.type = "button";
    again.addEventListener("click", () => send(element, message));
    const why = error.code === "lost" ? "no answer; perhaps not sent" : `not sent: ${error.message}`;
    setFate(element, "failed", `${why} `, again);
  }
}

client.onGap((_, count) => {
  $("empty").hidden = true;
  const number = count === 1 ? "1 message is" : `${count} messages are`;
  const what = count === undefined ? "Some messages may be missing" : `${number} missing`;
  newest = undefined;
  stayingAtEnd(() => $("log").append(make("p", "mark gap", what)));
});

/** What was said before is shown, too; and after a loss or a long sleep, what was said meanwhile. */
client.subscribe(CHANNEL, hear, { since: "all" });

function hear(data) {
  // Anybody may publish anything here.
  const known = typeof data === "object" && data !== null ? data : { text: data };
  const id = typeof known.id === "string" ? known.id.slice(0, 64) : undefined;
  const element = id !== undefined && shown.get(id);
  if (element) {
    if (element.classList.contains("own")) {
      setFate(element, "sent", "sent");
    }
    return;
  }
  const author = cut(String(known.name ?? "").trim(), LONGEST.name) || "somebody";
  const text = typeof known.text === "string" ? known.text : JSON.stringify(data);
  const at = Number.isFinite(known.at) ? Math.min(known.at, Date.now()) : Date.now();
  show({ id, name: author, text: cut(text, LONGEST.text), at });
  if (document.hidden && at > OPENED) {
    unread += 1;
    document.title = `(${unread}) encke`;
  }
}

let unread = 0;
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) {
    unread = 0;
    document.title = "encke";
  }
});

const newId = () => Array.from(crypto.getRandomValues(new Uint32Array(3)), (word) => word.toString(36)).join("");

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = cut($("text").value.trim(), LONGEST.text);
  if (text) {
    const message = { name, text, id: newId(), at: Date.now() };
    send(show({ ...message, own: true }), message);
    $("text").value = "";
  }
  $("text").focus();
});

// ---- The connection's state.

let present = { state: "idle", detail: {} };

function drawState() {
  const { state, detail } = present;
  const seconds = detail.retryAt ? Math.ceil((detail.retryAt - Date.now()) / 1000) : 0;
  const words = {
    connected: "connected",
    refused: "refused",
    idle: "disconnected",
    reconnecting: seconds > 0 ? `reconnecting in ${seconds} s` : "reconnecting",
  };
  const text = words[state] ?? "connecting";
  if ($("state").textContent !== text) {
    $("state").textContent = text;
  }
  $("pill").dataset.state = state;
  $("pill").title = detail.reason ?? "";
}

// ---- Which transport.

/** Says which one is live, and which ones can be had. */
function drawTransport() {
  const [live, chosen] = [client.transport, $("choose").value];
  if (live) {
    $("transport").textContent = live;
    // What the server does not offer has not failed.
    const failed = client.transports.some(({ name, usable }) => name === chosen && usable);
    const why = chosen === live ? "chosen" : failed ? `instead of ${chosen}` : "";
    $("mode").textContent = chosen ? why : "automatic";
  }
  const choices = client.transports.map(({ name, usable, why }) => {
    const option = make("option", "", why ? `${name}: ${why}` : name);
    return Object.assign(option, { value: name, disabled: !usable });
  });
  const texts = (options) => Array.from(options, ({ text, disabled }) => `${text} ${disabled}`).join();
  const automatic = $("choose").options[0];
  if (texts($("choose").options) !== texts([automatic, ...choices])) {
    $("choose").replaceChildren(automatic, ...choices);
    $("choose").value = chosen;
  }
}

$("choose").addEventListener("change", async () => {
  const name = $("choose").value;
  drawTransport();
  try {
    await client.use(name || undefined);
  } catch (error) {
    $("announce").textContent = error.message;
  }
  drawTransport();
});

client.onState((state, detail) => {
  const changed = state !== present.state;
  present = { state, detail };
  const notice = $("notice");
  notice.dataset.state = state;
  const isGone = state === "reconnecting" && detail.attempt > 0;
  notice.hidden = !(isGone || state === "refused");
  if (!notice.hidden) {
    const reason = detail.reason.replace(/^./, (letter) => letter.toUpperCase());
    $("why").textContent = isGone ? `${reason}. What you write waits until it is back.` : `Refused: ${detail.reason}`;
  }
  if (changed) {
    $("announce").textContent = state === "reconnecting" ? "Connection lost, reconnecting" : state;
  }
  drawState();
  drawTransport();
});

$("try").addEventListener("click", () => {
  client.connect();
  client.retryNow();
});

// ---- What goes over the wire.

const times = []; // when events came, of the last seconds
const WINDOW = 5_000;
let events = 0;
let paused = false;
let missed = 0;
/** What is open for events: `{ request, what, since, timeout }`. */
let held;

const sizeOf = (bytes) => (bytes < 1024 ? `${bytes} B` : `${(bytes / 1024).toFixed(1)} KiB`);
const durationOf = (ms) => (ms < 1000 ? `${Math.max(1, Math.round(ms))} ms` : `${(ms / 1000).toFixed(1)} s`);

function withUnit(element, number, unit) {
  element.replaceChildren(String(number), make("small", "", unit));
}

function showTrip(ms) {
  withUnit($("trip"), ms < 10 ? ms.toFixed(1) : Math.round(ms), "ms");
}

/** What an error or an empty batch means. */
function explain(direction, { as, error, more }) {
  if (error) {
    return error.code === "ended" ? `not waited for any more: ${error.message}` : error.message;
  }
  if (as === "frame") {
    // An empty frame is answered with one.
    return direction === "out" ? "[] asks whether all has arrived" : "[] says that all has arrived";
  }
  return more ? "heartbeat" : "empty: another transport has taken over";
}

/** `/chat/demo ×2, /meta/connect {"name":…`: the channels of a batch, and what its first event or publish says. */
function describe(messages) {
  const counts = new Map();
  for (const message of messages) {
    const isEvent = message.data !== undefined && !("successful" in message);
    const word = `${message.channel}${message.successful === false ? " refused" : ""}`;
    const entry = counts.get(word) ?? { count: 0, isEvent };
    entry.count += 1;
    counts.set(word, entry);
  }
  const said = messages.find(({ data }) => data !== undefined);
  return [...counts]
    .flatMap(([word, { count, isEvent }], at) => {
      const text = count > 1 ? `${word} ×${count}` : word;
      return [at ? ", " : "", make(isEvent ? "em" : "span", "", text)];
    })
    .concat(said ? [" ", make("span", "", cut(JSON.stringify(said.data).slice(0, 200), 120))] : []);
}

function addRow(direction, messages, info) {
  if (paused) {
    missed += 1;
    $("pause").textContent = `Go on (${missed} passed)`;
    return;
  }
  const now = new Date();
  const milliseconds = String(now.getMilliseconds()).padStart(3, "0");
  const way = info.error && info.error.code !== "ended" ? "error" : direction;
  const arrow = make("span", "way", { out: "↑", in: "↓", error: "×" }[way]);
  arrow.title = { out: "sent", in: "received", error: "failed" }[way];
  const summary = make(
    "summary",
    "",
    arrow,
    make("span", "when", `${now.toTimeString().slice(0, 8)}.${milliseconds}`),
    make("span", "as", info.as === "request" ? "POST" : info.as),
    messages.length && !info.error
      ? make("span", "what", ...describe(messages))
      : make("span", "what note", explain(direction, info)),
    make("span", "size", info.bytes ? sizeOf(info.bytes) : ""),
    make("span", "took", info.ms === undefined ? "" : durationOf(info.ms)),
  );
  const details = make("details", "", summary);
  details.addEventListener(
    "toggle",
    () => {
      const text = info.error ? `${info.error.code}: ${info.error.message}` : JSON.stringify(messages, null, 2);
      details.append(make("pre", "", text));
    },
    { once: true },
  );
  const row = make("li", "row", details);
  row.dataset.way = way;
  const rows = $("rows");
  const above = rows.scrollTop > 0 && rows.scrollHeight;
  rows.prepend(row);
  while (rows.children.length > MOST_ROWS) {
    rows.lastChild.remove();
  }
  if (above) {
    rows.scrollTop += rows.scrollHeight - above; // Whoever reads further down stays there.
  }
}

const OPEN = {
  websocket: "A connect is held on the WebSocket",
  streaming: "A stream is open; its last sign",
  eventsource: "An EventSource is open; next connect",
  "long-polling": "A connect is held",
};

/** Notes what is open for events, and for how long that may be so or silent. */
function follow(direction, messages, { request, transport, timeout, more }) {
  const since = performance.now();
  const connect = messages.find(({ channel }) => channel === "/meta/connect");
  const what = OPEN[transport];
  if (direction === "out" && connect && !connect.advice && transport !== "eventsource") {
    held = { request, what, since, timeout: transport === "streaming" ? timeout : client.advice.timeout };
  } else if (direction === "in" && connect?.successful && transport === "eventsource") {
    held = { what, since, timeout: connect.advice?.interval ?? held?.timeout ?? client.advice.interval };
  } else if (direction === "in" && request !== undefined && held?.request === request) {
    held = more ? { ...held, since } : undefined;
  }
}

client.onWire((direction, messages, info) => {
  follow(direction, messages, info);
  if (direction === "in") {
    const isEvent = ({ channel, data }) => data !== undefined && !/^\/(meta|service)\//.test(channel);
    const came = messages.filter(isEvent).length;
    events += came;
    times.push(...Array(Math.min(came, 10_000)).fill(performance.now()));
    $("events").textContent = events.toLocaleString("en");
  }
  addRow(direction, messages, info);
  drawLive();
});

function drawLive() {
  const now = performance.now();
  while (times.length && now - times[0] > WINDOW) {
    times.shift();
  }
  const rate = times.length / (WINDOW / 1000);
  $("rate").textContent = rate === 0 || rate >= 10 ? Math.round(rate) : rate.toFixed(1);
  $("held").classList.toggle("now", Boolean(held));
  if (held) {
    const whole = held.timeout / 1000;
    const passed = Math.min((now - held.since) / 1000, whole);
    $("held-what").textContent = held.what;
    $("held-time").textContent = `${passed.toFixed(1)} s of ${whole} s`;
    $("held").style.setProperty("--part", String(passed / whole));
  } else {
    const polls = client.state === "connected" && client.advice["multiple-clients"];
    const pace = `Asks every ${client.advice.interval / 1000} s: other tabs hold the connections`;
    $("held-what").textContent = polls ? pace : "No connect is held";
    $("held-time").textContent = "";
  }
}

setInterval(() => {
  drawState();
  drawLive();
}, 250);

$("pause").addEventListener("click", () => {
  paused = !paused;
  missed = 0;
  $("pause").setAttribute("aria-pressed", String(paused));
  $("pause").textContent = paused ? "Go on" : "Pause";
});
$("clear").addEventListener("click", () => $("rows").replaceChildren());

// ---- How to use it.

const endpoint = new URL(MOUNT, location.href).href;
const handshake = '[{"channel":"/meta/handshake","version":"1.0","supportedConnectionTypes":["long-polling"]}]';
const publish = `[{"channel":"${CHANNEL}","clientId":"'$ID'","data":{"name":"curl","text":"Hello from a shell"}}]`;

const EXAMPLES = {
  "code-js": [
    'const { Client } = await import("/encke.js");',
    `const client = new Client("${MOUNT}"); client.connect();`,
    `client.subscribe("${CHANNEL}", (data) => console.log(data));`,
  ],
  "code-sh": [
    `bayeux() { curl -sS ${endpoint} -H 'Content-Type: application/json' -d "$1"; }`,
    `ID=$(bayeux '${handshake}' | sed 's/.*"clientId":"\\([^"]*\\)".*/\\1/')`,
    `bayeux '${publish}'`,
  ],
};
for (const [id, lines] of Object.entries(EXAMPLES)) {
  $(id).append(...lines.map((line) => make("span", "line", `${line}\n`)));
}

/** Copies; where the page may not (plain HTTP from another machine), selects the text for Ctrl+C. */
async function copy(from) {
  try {
    await navigator.clipboard.writeText(from.textContent);
    return "Copied";
  } catch {
    getSelection().selectAllChildren(from);
    return document.execCommand("copy") ? "Copied" : "Selected";
  }
}

for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", async () => {
    const done = await copy($(button.dataset.copy));
    button.textContent = done;
    $("copied").textContent = done;
    setTimeout(() => {
      button.textContent = "Copy";
      $("copied").textContent = "";
    }, 2_000);
  });
}

drawTransport();
client.connect();
