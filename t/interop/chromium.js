// Headless Chromium, with its profile in a directory, and pages in it that are driven over the Chrome DevTools
// Protocol.

"use strict";

const assert = require("node:assert/strict");
const { spawn } = require("node:child_process");
const { once } = require("node:events");
const { createInterface } = require("node:readline");
const WebSocket = require("ws");

let chromium;
let ended;

function start(profile) {
    chromium = spawn("chromium", [
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
    ended = once(chromium, "exit");
    process.on("exit", () => chromium.kill("SIGKILL"));
    process.on("SIGTERM", () => process.exit(143));
}

async function stop() {
    chromium.kill();
    await ended;
}

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

module.exports = { start, stop, Page };
