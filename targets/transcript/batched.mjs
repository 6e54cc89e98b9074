// A queue that is written every 100 ms. A record is acknowledged when it is queued, before any of it is written.

import { appendFile } from "node:fs/promises";

import { main } from "./agent.mjs";
import { acknowledge, encode } from "./conversation.mjs";

const INTERVAL_MS = 100;
let queues = new Map();

async function flush() {
  const batch = queues;
  queues = new Map();
  for (const [path, lines] of batch) {
    try {
      await appendFile(path, lines.join(""));
    } catch (error) {
      process.stderr.write(`error: flush: ${error.code}\n`);
    }
  }
}

const timer = setInterval(flush, INTERVAL_MS);

async function save(path, record) {
  if (!queues.has(path)) queues.set(path, []);
  queues.get(path).push(encode(record));
  acknowledge(record);
}

await main({
  save,
  saveResult: save,
  async settle() {},
  async close() {
    clearInterval(timer);
    await flush();
  },
});
