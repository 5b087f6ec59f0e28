// A proxy in front of the daemon that does what proxies do to transports: it knows no upgrades, it keeps answers back,
// it drops what is open. It works on bytes, so that it hands on everything else as it is.
import { createServer, connect } from "node:net";

/**
 * Listens, and hands on to the daemon at this URL. What can be set:
 * - `upgrade`: what becomes of a request for a WebSocket. "pass"; "refuse" with a 400; "hang": no answer; "die": it
 *   opens and is closed at once; "mute": it opens, and nothing goes to the daemon;
 * - `lag`: bytes are late, on each connection and in each direction by another time of up to so many ms;
 * - `buffer`: an answer is kept back until it has so many bytes, or has been handed on by the server to its end;
 * - `tear`: says of bytes from the daemon whether they are to break off in their middle, with the connection;
 * - `down`: nobody gets through.
 *
 * `cut()` resets the WebSockets that are open, `sever()` all that is; with `freeze()` nothing more goes over those, and
 * over streams.
 */
export async function relay(url) {
  const target = new URL(url);
  const proxy = { upgrade: "pass", down: false, lag: 0, buffer: 0, tear: () => false, upgrades: 0 };
  const open = new Set();
  const server = createServer((near) => {
    if (proxy.down) {
      near.on("error", () => {});
      near.resetAndDestroy();
      return;
    }
    const far = connect(Number(target.port), target.hostname);
    const link = { near, far, isSocket: false, isStream: false, frozen: false, first: true };
    open.add(link);
    const end = () => (near.destroy(), far.destroy(), open.delete(link));
    for (const one of [near, far]) {
      one.setNoDelay(true);
      // Whatever is late goes first.
      one.on("error", end).on("close", () => setTimeout(end, proxy.lag));
    }
    const [toNear, toFar] = [late(near, proxy.lag), late(far, proxy.lag)];
    near.on("data", (bytes) => {
      if (link.frozen) {
        return;
      }
      if (/^GET [^\r]*\r\n[^]*\r\nupgrade: websocket\r\n/i.test(bytes.toString("latin1"))) {
        proxy.upgrades += 1;
        link.isSocket = true;
        link.fate = proxy.upgrade;
        if (link.fate === "refuse") {
          near.end("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
          far.destroy();
          return;
        }
      }
      if (link.fate === "hang" || (link.fate === "mute" && !link.first)) {
        return;
      }
      link.first = !link.isSocket;
      toFar(bytes);
    });
    const hold = holdingBack(() => proxy.buffer, toNear);
    far.on("data", (bytes) => {
      if (link.frozen) {
        return;
      }
      if (proxy.tear(bytes.toString("latin1"))) {
        link.frozen = true;
        near.write(bytes.subarray(0, bytes.length >> 1), () => (near.resetAndDestroy(), far.resetAndDestroy()));
        return;
      }
      link.isStream ||= bytes.includes("Transfer-Encoding: chunked");
      link.isSocket ? toNear(bytes) : hold(bytes);
      if (link.fate === "die") {
        setTimeout(end, 1);
      }
    });
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  proxy.url = `http://127.0.0.1:${server.address().port}${target.pathname}`;
  const reset = (links) => links.forEach(({ near, far }) => (near.resetAndDestroy(), far.resetAndDestroy()));
  proxy.cut = () => reset([...open].filter(({ isSocket }) => isSocket));
  proxy.sever = () => reset([...open]);
  proxy.freeze = () => open.forEach((link) => (link.frozen = link.isSocket || link.isStream));
  proxy.close = () => (server.close(), open.forEach(({ near, far }) => (near.destroy(), far.destroy())));
  return proxy;
}

/** Writes bytes later; in their order, since each is as late as the others. */
function late(socket, most) {
  const lag = Math.random() * most;
  const write = (bytes) => socket.writable && socket.write(bytes);
  return (bytes) => (lag ? void setTimeout(write, lag, bytes) : write(bytes));
}

/** Gives bytes on when there are enough of them, or the answer that they belong to is whole. */
function holdingBack(most, give) {
  let kept = Buffer.alloc(0);
  return (bytes) => {
    kept = Buffer.concat([kept, bytes]);
    const text = kept.toString("latin1");
    const head = text.indexOf("\r\n\r\n");
    const length = /\r\ncontent-length: (\d+)/i.exec(text.slice(0, head));
    const body = text.length - head - 4;
    const whole = head >= 0 && (length ? body >= Number(length[1]) : text.endsWith("\r\n0\r\n\r\n"));
    if (whole || kept.length >= most()) {
      give(kept);
      kept = Buffer.alloc(0);
    }
  };
}
