// chromium-client.js URL PROFILE: headless Chromium, with its profile in the directory PROFILE, opens
// the demo's page at URL and uses it as a person would.

"use strict";

const assert = require("node:assert/strict");
const { spawn } = require("node:child_process");
const { once } = require("node:events");
const { createInterface } = require("node:readline");
const WebSocket = require("ws");
const { runCases } = require("./cases.js");

const [url, profile] = process.argv.slice(2);

const chromium = spawn("chromium", [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
    "--ignore-certificate-errors",
    "--remote-debugging-port=0",
    `--user-data-dir=${profile}`,
], { stdio: ["ignore", "ignore", "pipe"] });
const ended = once(chromium, "exit");
process.on("exit", () => chromium.kill("SIGKILL"));
process.on("SIGTERM", () => process.exit(143));

// One page, driven over the Chrome DevTools Protocol.
class Page {
    #devtools;
    #sessionId;
    #waiting = []; // for the answer to the call of that number

    static async open(url) {
        const page = new Page();
        page.#devtools = new WebSocket(await devtoolsAddress());
        page.#devtools.on("message", (data) => {
            const { id, ...answer } = JSON.parse(data);
            page.#waiting[id]?.(answer);
        });
        await once(page.#devtools, "open");
        const { targetId } = await page.#call("Target.createTarget", { url: "about:blank" });
        const session = await page.#call("Target.attachToTarget", { targetId, flatten: true });
        page.#sessionId = session.sessionId;
        const { errorText } = await page.#call("Page.navigate", { url });
        assert.equal(errorText, undefined);
        return page;
    }

    async #call(method, params) {
        const id = this.#waiting.length;
        const answer = new Promise((resolve) => this.#waiting.push(resolve));
        this.#devtools.send(JSON.stringify({ id, method, params, sessionId: this.#sessionId }));
        const { result, error } = await answer;
        assert.equal(error, undefined, error?.message);
        return result;
    }

    // The value of a function without arguments, or of its promise, in the page.
    async evaluate(code) {
        const { result, exceptionDetails } = await this.#call("Runtime.evaluate", {
            expression: `(${code})()`,
            awaitPromise: true,
            returnByValue: true,
        });
        assert.equal(exceptionDetails, undefined, exceptionDetails?.exception?.description);
        return result.value;
    }

    async waitFor(code, expected) {
        let value;
        for (let attempt = 0; attempt < 100; attempt++) {
            value = await this.evaluate(code);
            if (value === expected) {
                return;
            }
            await new Promise((resolve) => setTimeout(resolve, 50));
        }
        assert.equal(value, expected);
    }
}

async function devtoolsAddress() {
    for await (const line of createInterface({ input: chromium.stderr })) {
        const [, address] = line.match(/^DevTools listening on (ws:.*)/) ?? [];
        if (address) {
            chromium.stderr.resume();
            return address;
        }
    }
    throw new Error("chromium ended before it was ready");
}

let page;

runCases({
    "page is loaded over HTTP/2": async () => {
        page = await Page.open(`${url}/`);
        await page.waitFor(() => document.readyState, "complete");
        assert.equal(await page.evaluate(() => location.origin), url);
        assert.equal(
            await page.evaluate(() => performance.getEntriesByType("navigation")[0].nextHopProtocol),
            "h2",
        );
    },

    "new WebSocket('wss://...') echoes": async () => {
        const result = await page.evaluate(() => new Promise((resolve, reject) => {
            const socket = new WebSocket(`wss://${location.host}/ws`);
            const echoes = [];
            socket.binaryType = "arraybuffer";
            socket.onopen = () => {
                socket.send("grüße, 世界");
                socket.send(new Uint8Array([0, 127, 128, 255]));
            };
            socket.onmessage = ({ data }) => {
                echoes.push(typeof data === "string" ? data : [...new Uint8Array(data)]);
                if (echoes.length === 2) {
                    socket.close(4003);
                }
            };
            socket.onclose = ({ code, wasClean }) => resolve({ echoes, code, wasClean });
        }));
        assert.deepEqual(result, {
            echoes: ["grüße, 世界", [0, 127, 128, 255]],
            code: 4003,
            wasClean: true,
        });
    },

    "demo page shows what comes back": async () => {
        const state = () => document.getElementById("state").textContent;
        const lastReceived = () => {
            const items = document.querySelectorAll("#log .received");
            return items.length === 0 ? "" : items[items.length - 1].firstChild.textContent;
        };
        await page.waitFor(state, "connected");
        await page.evaluate(() => {
            document.getElementById("text").value = "typed <b>here</b>";
            document.getElementById("form").requestSubmit();
        });
        await page.waitFor(lastReceived, "typed <b>here</b>");
        await page.evaluate(() => document.getElementById("large").click());
        await page.waitFor(lastReceived, "1,048,576 bytes");
        assert.equal(await page.evaluate(() => document.getElementById("count").textContent), "2");
        assert.match(await page.evaluate(() => document.getElementById("last").textContent), /^[\d.]+ ms$/);
        await page.evaluate(() => document.getElementById("toggle").click());
        await page.waitFor(state, "disconnected");
    },
}, async () => {
    chromium.kill();
    await ended;
});
