// cometd-nodejs-server on Node's own HTTP server: long polling. Its first line of output is its URL.
import http from 'node:http';
import cometd from 'cometd-nodejs-server';

// Polls are held for its default of 30 s.
const server = http.createServer(cometd.createCometDServer().handle);
// Node would close a connection five seconds after a reply.
server.keepAliveTimeout = 600_000;
server.listen({ host: '127.0.0.1', port: 0, backlog: 65535 }, () => {
    console.log(`http://127.0.0.1:${server.address().port}/cometd`);
});
