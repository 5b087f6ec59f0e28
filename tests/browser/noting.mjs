// What the daemon answers to a page of another site: not all of it is told to a page, or to a debugger.

import { connect, createServer } from "node:net";

/** Has a server listen; returns its port. */
export async function listening(server) {
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  return server.address().port;
}

/** Another port of the daemon, on which each answer is noted once, and before it arrives. Returns that port. */
export function noting(endpoint, answers) {
  const { hostname, port } = new URL(endpoint);
  return listening(
    createServer((client) => {
      const daemon = connect(port, hostname);
      let [asked, told, seen] = ["", "", 0];
      client.on("data", (bytes) => (asked += bytes.toString("latin1")));
      daemon.on("data", (bytes) => {
        told += bytes.toString("latin1");
        const paths = [...asked.matchAll(/[A-Z]+ (\S+) HTTP\/1.1\r\n/g)];
        const statuses = [...told.matchAll(/HTTP\/1.1 (\d{3}) /g)];
        for (; seen < statuses.length; seen += 1) {
          if (paths[seen][1] !== "/favicon.ico") {
            answers.push(Number(statuses[seen][1]));
          }
        }
      });
      client.pipe(daemon).pipe(client);
      client.on("error", () => daemon.destroy());
      daemon.on("error", () => client.destroy());
    }),
  );
}
