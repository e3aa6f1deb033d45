// chromium-ends.js URL PROFILE PIDFILE: what a page in headless Chromium is told when a tunnel ends, for each end that the
// guard tells of. Reloads the nginx whose process id is in PIDFILE, twice.

"use strict";

const assert = require("node:assert/strict");
const { readFileSync } = require("node:fs");
const { runCases } = require("./cases.js");
const { Page, start, stop } = require("./chromium.js");

const [url, profile, pidFile] = process.argv.slice(2);

start(profile);

let page;

// What the page sends, and is too much.
const SENT = {
    "/ends/large": ["x".repeat(65)],
    "/ends/rate": ["one", "two"],
};

// What its close event says of each socket that is opened.
function open(paths) {
    return page.evaluate(`async () => {
        window.ends = {};
        await Promise.all(${JSON.stringify(paths)}.map((path) => new Promise((resolve) => {
            const socket = new WebSocket("wss://" + location.host + path);
            socket.onopen = () => {
                (${JSON.stringify(SENT)}[path] ?? []).forEach((message) => socket.send(message));
                resolve();
            };
            socket.onclose = ({ code, reason, wasClean }) => {
                window.ends[path] = { code, reason, wasClean };
                resolve();
            };
        })));
    }`);
}

async function closed(count) {
    await page.waitFor(() => Object.keys(window.ends).length, count);
    return await page.evaluate(() => window.ends);
}

// A Close of the guard's has no reason.
const clean = (code) => ({ code, reason: "", wasClean: true });

function reload() {
    process.kill(Number(readFileSync(pidFile, "utf8")), "SIGHUP");
}

runCases({
    "ends of single tunnels": async () => {
        page = await Page.open(`${url}/`);
        await page.waitFor(() => document.readyState, "complete");
        const expected = {
            "/ends/gone": clean(1014),
            "/ends/reset": clean(1014),
            "/ends/ping/deaf": clean(1014),
            "/ends/idle": clean(1001),
            "/ends/lifetime": clean(1008),
            "/ends/broken": clean(1001),
            "/ends/large": clean(1009),
            "/ends/rate": clean(1008),
            // Without the guard's Close: what it would be like.
            "/ends/off/gone": { code: 1006, reason: "", wasClean: false },
        };
        await open(Object.keys(expected));
        assert.deepEqual(await closed(Object.keys(expected).length), expected);
    },

    "a drain": async () => {
        const expected = {
            "/ends/drain/polite": clean(1012),
            "/ends/drain/deaf": clean(1012),
            "/ends/drain/own": clean(4000),
        };
        await open(Object.keys(expected));
        reload();
        assert.deepEqual(await closed(Object.keys(expected).length), expected);
    },

    "worker_shutdown_timeout": async () => {
        await open(["/ends/stays"]);
        reload();
        const { code, reason } = (await closed(1))["/ends/stays"];
        // Nobody waits for the page's own Close then, so it may not be clean.
        assert.deepEqual({ code, reason }, { code: 1012, reason: "" });
    },
}, stop);
