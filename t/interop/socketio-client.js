// socketio-client.js URL ASTRAY: the client of the library socket.io talks to one of two socketio-server.js.
//
// Sessions live in one server's memory, and each poll is a request of its own. At ASTRAY nothing sees to it that
// the second one meets the server that knows the session.

"use strict";

const assert = require("node:assert/strict");
const { io } = require("socket.io-client");
const { runCases } = require("./cases.js");

const [url, astray] = process.argv.slice(2);

function open(options, at = url) {
    return io(at, { forceNew: true, reconnection: false, ...options });
}

async function connect(options, at) {
    const socket = open(options, at);
    await new Promise((resolve, reject) => {
        socket.once("connect", resolve);
        socket.once("connect_error", reject);
    });
    return socket;
}

async function assertEchoes(socket) {
    for (const value of ["grüße, 世界", { deep: [1, 2, 3] }, Buffer.alloc(100_000, "binary")]) {
        assert.deepEqual(await socket.emitWithAck("echo", value), value);
    }
}

runCases({
    "polling alone": async () => {
        const socket = await connect({ transports: ["polling"] });
        await assertEchoes(socket);
        assert.equal((await socket.emitWithAck("who")).transport, "polling");
        socket.disconnect();
    },

    "WebSocket alone": async () => {
        const socket = await connect({ transports: ["websocket"] });
        await assertEchoes(socket);
        assert.equal((await socket.emitWithAck("who")).transport, "websocket");
        socket.disconnect();
    },

    "its own heartbeats, and nothing else": async () => {
        const socket = await connect({ transports: ["websocket"] });
        for (let heartbeats = 0; heartbeats < 4; heartbeats++) {
            await new Promise((resolve) => socket.io.once("ping", resolve));
        }
        await assertEchoes(socket);
        socket.disconnect();
    },

    "polling first, then an upgrade to WebSocket": async () => {
        const socket = open({ transports: ["polling", "websocket"] });
        await new Promise((resolve) => socket.io.once("open", resolve));
        const { engine } = socket.io;
        assert.equal(engine.transport.name, "polling");
        await new Promise((resolve) => engine.once("upgrade", resolve));
        assert.equal(engine.transport.name, "websocket");
        await assertEchoes(socket);
        assert.equal((await socket.emitWithAck("who")).transport, "websocket");
        socket.disconnect();
    },

    "all connections of a client meet the same of two servers": async () => {
        const servers = new Set();
        for (const transport of ["polling", "websocket", "polling", "websocket"]) {
            const socket = await connect({ transports: [transport] });
            servers.add((await socket.emitWithAck("who")).pid);
            socket.disconnect();
        }
        assert.equal(servers.size, 1);
    },

    "without session affinity, a poll meets the other server": async () => {
        const error = await connect({ transports: ["polling"] }, astray).catch((error) => error);
        assert.equal(error.context?.status, 400);
    },

    "without session affinity, WebSocket alone": async () => {
        const socket = await connect({ transports: ["websocket"] }, astray);
        await assertEchoes(socket);
        socket.disconnect();
    },
});
