// Seed 000 in Node: each tool that is done awaits readFile, then awaits writeFile. Nothing makes two of them wait.

import { readFile, writeFile } from "node:fs/promises";

import { main } from "./agent.mjs";
import { acknowledge, encode } from "./conversation.mjs";

const pending = [];

async function save(path, record) {
  let snapshot = "";
  try {
    snapshot = await readFile(path);
  } catch (error) {
    if (error.code !== "ENOENT") throw error;
  }
  await writeFile(path, Buffer.concat([Buffer.from(snapshot), Buffer.from(encode(record))]));
  acknowledge(record);
}

await main({
  save,
  saveResult(path, record) {
    const saved = save(path, record);
    saved.catch(() => {}); // looked at when the turn is over
    pending.push(saved);
  },
  async settle() {
    await Promise.all(pending.splice(0));
  },
  async close() {},
});
