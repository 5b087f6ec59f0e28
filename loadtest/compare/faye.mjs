// Faye on Node's own HTTP server: long polling, WebSocket and EventSource. Its first line of output is its URL.
import http from 'node:http';
import faye from 'faye';

const server = http.createServer();
// Polls are held as long as by the others, in seconds.
new faye.NodeAdapter({ mount: '/cometd', timeout: 30 }).attach(server);
// Node would close a connection five seconds after a reply.
server.keepAliveTimeout = 600_000;
server.listen({ host: '127.0.0.1', port: 0, backlog: 65535 }, () => {
    console.log(`http://127.0.0.1:${server.address().port}/cometd`);
});
