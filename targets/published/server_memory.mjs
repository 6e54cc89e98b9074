// Drives the real @modelcontextprotocol/server-memory, which lies at TORNWRITE_PACKAGE, through its own class.
//
//     server_memory.mjs run DIR WORKLOAD        change the graph `updates` times; each call that returns is acknowledged
//     server_memory.mjs recover DIR WORKLOAD    start again after a crash: add one entity more and acknowledge it
//
// Loading the package starts its server on standard input, which is empty here: nobody asks it anything. The calls are
// those that its tools make. Two of four updates add an entity, one makes the second larger, one deletes the first:
// the graph shrinks as well as grows, and its early bytes change.

import { createHash } from "node:crypto";
import { readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [command, root, workloadPath] = process.argv.slice(2);
const workload = JSON.parse(readFileSync(workloadPath, "utf8"));

function valueOf(number) {
  const digest = createHash("sha256").update(`${workload.seed}/${number}`).digest("hex");
  const [low, high] = workload.record_bytes;
  const size = low + (parseInt(digest.slice(0, 8), 16) % (high - low + 1));
  return digest.repeat(Math.floor(size / digest.length) + 1).slice(0, size);
}

function entity(name, text) {
  return { name, entityType: "note", observations: [text] };
}

function update(manager, number) {
  if (number % 4 === 3)
    return manager.addObservations([{ entityName: `note ${number - 1}`, contents: [valueOf(number)] }]);
  if (number % 4 === 0) return manager.deleteEntities([`note ${number - 3}`]);
  return manager.createEntities([entity(`note ${number}`, valueOf(number))]);
}

try {
  const place = join(process.env.TORNWRITE_PACKAGE, "node_modules", "@modelcontextprotocol", "server-memory", "dist", "index.js");
  const { KnowledgeGraphManager } = await import(pathToFileURL(place).href);
  const manager = new KnowledgeGraphManager(join(root, "memory.jsonl"));
  if (command === "run") {
    writeSync(1, "ARMED\n");
    for (let number = 1; number <= workload.updates; number++) {
      await update(manager, number);
      writeSync(1, `ACK ${number}\n`);
    }
  } else {
    const { entities } = await manager.readGraph();
    const name = `after crash ${1 + entities.filter((each) => each.name.startsWith("after crash ")).length}`;
    await manager.createEntities([entity(name, "recovered")]);
    writeSync(1, `ACK ${name}\n`);
  }
  process.exit(0);
} catch (error) {
  writeSync(2, `error: ${command}: ${error.code ?? error.message}\n`);
  process.exit(1);
}
