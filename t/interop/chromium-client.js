// chromium-client.js URL PROFILE: headless Chromium, with its profile in the directory PROFILE, opens
// the demo's page at URL and uses it as a person would.

"use strict";

const assert = require("node:assert/strict");
const { runCases } = require("./cases.js");
const { Page, start, stop } = require("./chromium.js");

const [url, profile] = process.argv.slice(2);

start(profile);

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
}, stop);
