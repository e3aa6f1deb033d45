// ws-client.js URL: the client of the library ws talks to ws-server.js.

"use strict";

const assert = require("node:assert/strict");
const { randomBytes } = require("node:crypto");
const { once } = require("node:events");
const WebSocket = require("ws");
const { runCases } = require("./cases.js");

const url = process.argv[2];

async function connect({ path = "", protocols = [], ...options } = {}) {
    const socket = new WebSocket(url + path, protocols, options);
    await once(socket, "open");
    return socket;
}

async function receive(socket) {
    const [data, isBinary] = await once(socket, "message");
    return isBinary ? data : data.toString();
}

async function ask(socket, message) {
    const answer = receive(socket);
    socket.send(message);
    return await answer;
}

async function close(socket, code = 1000) {
    socket.close(code);
    const [received] = await once(socket, "close");
    assert.equal(received, code);
}

runCases({
    "text message": async () => {
        const socket = await connect();
        assert.equal(await ask(socket, "grüße, 世界"), "grüße, 世界");
        await close(socket);
    },

    "binary message": async () => {
        const socket = await connect();
        const data = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
        assert.deepEqual(await ask(socket, data), data);
        await close(socket);
    },

    "one mebibyte": async () => {
        const socket = await connect({ perMessageDeflate: false });
        const data = randomBytes(1 << 20);
        assert(data.equals(await ask(socket, data)), "other bytes came back");
        await close(socket);
    },

    "fragmented message": async () => {
        const socket = await connect();
        const answer = receive(socket);
        socket.send("frag", { fin: false });
        socket.send("men", { fin: false });
        socket.send("ted", { fin: true });
        assert.equal(await answer, "fragmented");
        await close(socket);
    },

    "ping of the client": async () => {
        const socket = await connect();
        const pong = once(socket, "pong");
        socket.ping("from the client");
        assert.equal((await pong).toString(), "from the client");
        await close(socket);
    },

    "ping of the server": async () => {
        const socket = await connect();
        assert.equal(await ask(socket, "ping"), "ponged from the server");
        await close(socket);
    },

    "pings of the guard": async () => {
        const socket = await connect();
        for (let pings = 0; pings < 3; pings++) {
            const [payload] = await once(socket, "ping");
            assert.equal(payload.length, 12);
        }
        assert.equal(await ask(socket, "still there"), "still there");
        await close(socket);
    },

    "close code of the server": async () => {
        const socket = await connect();
        socket.send("close 4001");
        const [code, reason] = await once(socket, "close");
        assert.deepEqual([code, reason.toString()], [4001, "as asked"]);
    },

    "close code of the client": async () => {
        await close(await connect({ path: "closing" }), 4002);
        const socket = await connect();
        let code = null;
        while (code === null) {
            code = JSON.parse(await ask(socket, "close-code-of /node/closing"));
        }
        assert.equal(code, 4002);
        await close(socket);
    },

    "permessage-deflate": async () => {
        const socket = await connect({ perMessageDeflate: { threshold: 0 } });
        assert.equal(socket.extensions, "permessage-deflate");
        assert.equal(JSON.parse(await ask(socket, "describe")).extensions, "permessage-deflate");
        assert.equal(await ask(socket, "a".repeat(100_000)), "a".repeat(100_000));
        await close(socket);

        const plain = await connect({ perMessageDeflate: false });
        assert.equal(JSON.parse(await ask(plain, "describe")).extensions, "");
        await close(plain);
    },

    "subprotocol": async () => {
        const socket = await connect({ protocols: ["chat.v2", "chat.v1"] });
        assert.equal(socket.protocol, "chat.v1");
        assert.equal(JSON.parse(await ask(socket, "describe")).protocol, "chat.v1");
        await close(socket);
    },

    "plain request to a WebSocket server": async () => {
        const response = await fetch(url.replace("ws:", "http:"));
        assert.equal(response.status, 426);
    },
});
