// In the browser: cometd.js or Faye, untouched, with everything written down that it says and hears.
import { CometD } from "/lib/cometd.js";

/** Every message that came, every connection type that a connect named, every event that a listener heard. */
const log = { messages: [], used: [], heard: [] };

const record = {
  incoming: (message) => log.messages.push({ ...message, at: performance.now() }),
  outgoing: ({ connectionType }) => connectionType && log.used.push(connectionType),
};

/** With this transport alone, or `any`. */
function cometd(url, transport) {
  const lib = new CometD();
  for (const type of lib.getTransportTypes()) {
    if (transport !== "any" && transport !== type) {
      lib.unregisterTransport(type);
    }
  }
  lib.configure({ url, logLevel: "warn" });
  lib.registerExtension("recorder", {
    incoming: (message) => (record.incoming(message), message),
    outgoing: (message) => (record.outgoing(message), message),
  });
  const reply = (act) =>
    new Promise((done, failed) => act((told) => (told.successful ? done() : failed(new Error(JSON.stringify(told))))));
  return {
    open: () => reply((told) => lib.handshake(told)),
    subscribe: (channel) => reply((told) => lib.subscribe(channel, ({ data }) => log.heard.push(data), told)),
    publish: (channel, data) => reply((told) => lib.publish(channel, data, told)),
    close: () => reply((told) => lib.disconnect(told)),
  };
}

/** Without the transports that it prefers to this one, or as it comes: `any`. It shakes hands by one of its choice. */
function faye(url, transport) {
  const order = ["websocket", "eventsource", "long-polling", "cross-origin-long-polling", "callback-polling"];
  const lib = new window.Faye.Client(url, { retry: 1 });
  order.slice(0, Math.max(order.indexOf(transport), 0)).forEach((better) => lib.disable(better));
  lib.addExtension({
    incoming: (message, pass) => (record.incoming(message), pass(message)),
    outgoing: (message, pass) => (record.outgoing(message), pass(message)),
  });
  return {
    open: () => new Promise((done) => lib.connect(done)),
    subscribe: async (channel) => void (await lib.subscribe(channel, (data) => log.heard.push(data))),
    publish: async (channel, data) => void (await lib.publish(channel, data)),
    close: async () => void (await lib.disconnect()),
  };
}

Object.assign(window, { log, libraries: { cometd, faye } });
