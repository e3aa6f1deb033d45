// A server of sockets that end in other ways than by a Close of the application's: /gone ends the connection, /reset resets it,
// /broken sends a frame that breaks RFC 6455, /deaf answers nothing; all others only answer a Close.

"use strict";

const { createHash } = require("node:crypto");
const { createServer } = require("node:http");

// How long after it was opened.
const DELAY = 300;

const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

const http = createServer();

http.on("upgrade", (request, socket) => {
    const accept = createHash("sha1").update(request.headers["sec-websocket-key"] + GUID).digest("base64");
    socket.on("error", () => {});
    socket.write(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
        `Sec-WebSocket-Accept: ${accept}\r\n\r\n`,
    );
    const end = request.url.split("/").pop();
    const later = {
        gone: () => socket.end(),
        reset: () => socket.resetAndDestroy(),
        broken: () => socket.write(Buffer.from([0x83, 0])),
    }[end];
    if (later) {
        setTimeout(later, DELAY);
    }
    socket.on("data", (data) => {
        if (end === "deaf") {
            return;
        }
        const code = closeCode(data);
        if (code !== null) {
            socket.end(Buffer.from([0x88, 2, code >> 8, code & 255]));
        }
    });
});

// Of a Close at the beginning of what came: all frames here are short, and Pongs come from the guard alone.
function closeCode(data) {
    for (let at = 0; at + 6 <= data.length;) {
        const length = data[at + 1] & 127;
        const payload = data.subarray(at + 6, at + 6 + length).map((byte, n) => byte ^ data[at + 2 + (n & 3)]);
        if (data[at] === 0x88) {
            return length < 2 ? 1000 : payload[0] << 8 | payload[1];
        }
        at += 6 + length;
    }
    return null;
}

http.listen(0, "127.0.0.1", () => {
    const { address, port } = http.address();
    console.log(`listening on ${address}:${port}`);
});
