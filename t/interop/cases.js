// runCases({"name": async () => {...}, ...}, cleanUp): runs them in turn, prints TAP, ends the process.

"use strict";

const TIME_LIMIT = 20_000;

async function runCases(cases, cleanUp = async () => {}) {
    console.log(`1..${Object.keys(cases).length}`);
    for (const [name, run] of Object.entries(cases)) {
        let timer;
        const late = new Promise((_, reject) => {
            timer = setTimeout(() => reject(new Error("timed out")), TIME_LIMIT);
        });
        try {
            await Promise.race([run(), late]);
            console.log(`ok - ${name}`);
        } catch (error) {
            process.exitCode = 1;
            console.log(`not ok - ${name}: ${String(error).replaceAll("\n", " ")}`);
        }
        clearTimeout(timer);
    }
    await cleanUp();
    // A failed case may have left a connection open, which would keep node running.
    process.exit();
}

module.exports = { runCases };
