// A web site beside the daemon: pages with the libraries as npm has them, from another port. What is below `/cometd` it
// hands to the daemon, as a reverse proxy does, for what a library does only with its own site.

import { readFile } from "node:fs/promises";
import { createServer, request } from "node:http";
import { fileURLToPath } from "node:url";

const LIBRARIES = "../interop/node_modules/";
const FILES = {
  "/": ["site/index.html", "text/html;charset=utf-8"],
  "/page.js": ["site/page.js", "text/javascript"],
  "/faye.js": [`${LIBRARIES}faye/client/faye-browser.js`, "text/javascript"],
  "/faye-min.js": [`${LIBRARIES}faye/client/faye-browser-min.js`, "text/javascript"],
};

/** Serves on this port, or on any; returns the port. */
export async function serve(endpoint, port = 0) {
  const server = createServer((asked, answer) => {
    const { pathname } = new URL(asked.url, "http://site");
    if (pathname.startsWith("/cometd")) {
      pass(asked, answer, endpoint);
    } else {
      void file(pathname, answer);
    }
  });
  await new Promise((listening, failed) => server.on("error", failed).listen(port, "127.0.0.1", listening));
  return server.address().port;
}

async function file(pathname, answer) {
  const module = pathname.match(/^\/lib\/(\w+\.js)$/)?.[1];
  const [path, type] = module ? [`${LIBRARIES}cometd/${module}`, "text/javascript"] : (FILES[pathname] ?? []);
  if (!path) {
    return answer.writeHead(404).end();
  }
  const content = await readFile(fileURLToPath(new URL(path, import.meta.url)));
  answer.writeHead(200, { "Content-Type": type }).end(content);
}

function pass(asked, answer, endpoint) {
  const { hostname, port } = new URL(endpoint);
  const { method, url: path, headers } = asked;
  const onward = request({ hostname, port, method, path, headers }, (come) => {
    answer.writeHead(come.statusCode, come.headers);
    answer.flushHeaders();
    come.pipe(answer);
  });
  onward.on("error", () => answer.destroy());
  answer.on("close", () => onward.destroy());
  asked.pipe(onward);
}
