// A server on the library socket.io: acknowledges "echo" with the same value, "who" with what it is.

"use strict";

const { createServer } = require("node:http");
const { Server } = require("socket.io");

const http = createServer();
// Heartbeats so often that several pass in a test.
const server = new Server(http, { pingInterval: 300, pingTimeout: 5000 });

server.on("connection", (socket) => {
    socket.on("echo", (value, acknowledge) => acknowledge(value));
    socket.on("who", (acknowledge) => {
        acknowledge({ pid: process.pid, transport: socket.conn.transport.name });
    });
});

http.listen(0, "127.0.0.1", () => {
    const { address, port } = http.address();
    console.log(`listening on ${address}:${port}`);
});
