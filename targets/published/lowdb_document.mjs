// Drives the real lowdb, which lies at TORNWRITE_PACKAGE: a document that collects one entry per update.
//
//     lowdb_document.mjs run DIR WORKLOAD        add `updates` entries; each write that returns is acknowledged
//     lowdb_document.mjs recover DIR WORKLOAD    start again after a crash: add one entry more and acknowledge it
//
// As its documentation shows it: loaded once, changed in memory, written as a whole. Each instance has entries of its own.

import { createHash } from "node:crypto";
import { readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [command, root, workloadPath] = process.argv.slice(2);
const workload = JSON.parse(readFileSync(workloadPath, "utf8"));
const instance = process.env.TORNWRITE_INSTANCE ?? "0";

function valueOf(id) {
  const digest = createHash("sha256").update(`${workload.seed}/${id}`).digest("hex");
  const [low, high] = workload.record_bytes;
  const size = low + (parseInt(digest.slice(0, 8), 16) % (high - low + 1));
  return digest.repeat(Math.floor(size / digest.length) + 1).slice(0, size);
}

try {
  const place = join(process.env.TORNWRITE_PACKAGE, "node_modules", "lowdb", "lib", "presets", "node.js");
  const { JSONFilePreset } = await import(pathToFileURL(place).href);
  writeSync(1, "ARMED\n");
  const db = await JSONFilePreset(join(root, "db.json"), { entries: {} });
  const held = Object.keys(db.data.entries).length;
  const ids =
    command === "run"
      ? Array.from({ length: workload.updates }, (_, number) => `${instance}-${number + 1}`)
      : [`after-${held}-entries`];
  for (const id of ids) {
    db.data.entries[id] = valueOf(id);
    await db.write();
    writeSync(1, `ACK ${id}\n`);
  }
  process.exit(0);
} catch (error) {
  writeSync(2, `error: ${command}: ${error.code ?? error.message}\n`);
  process.exit(1);
}
