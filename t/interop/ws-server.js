// A server on the library ws: echoes, and does what a few messages ask for.

"use strict";

const { WebSocketServer } = require("ws");

const closeCodes = {}; // of finished connections, by path

const server = new WebSocketServer({
    host: "127.0.0.1",
    port: 0,
    perMessageDeflate: { threshold: 0 },
    handleProtocols: (offered) => offered.has("chat.v1") && "chat.v1",
});

server.on("listening", () => {
    const { address, port } = server.address();
    console.log(`listening on ${address}:${port}`);
});

server.on("connection", (socket, request) => {
    socket.on("message", (data, isBinary) => {
        const [command, argument] = isBinary ? [] : data.toString().split(" ");
        switch (command) {
        case "describe":
            socket.send(JSON.stringify({ protocol: socket.protocol, extensions: socket.extensions }));
            break;
        case "ping":
            socket.once("pong", (payload) => socket.send(`ponged ${payload}`));
            socket.ping("from the server");
            break;
        case "close":
            socket.close(Number(argument), "as asked");
            break;
        case "close-code-of":
            socket.send(JSON.stringify(closeCodes[argument] ?? null));
            break;
        default:
            socket.send(data, { binary: isBinary });
        }
    });
    socket.on("error", () => {}); // "close" follows
    socket.on("close", (code) => {
        closeCodes[request.url] = code;
    });
});
