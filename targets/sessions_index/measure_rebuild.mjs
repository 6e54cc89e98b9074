// As measure_rebuild.py, in the language of the program that the seed is about; on a transcript that is there.
//
//     measure_rebuild.mjs TRANSCRIPT

import { readFileSync, statSync } from "node:fs";

const path = process.argv[2];

function entryOf() {
  const records = readFileSync(path, "utf8").split("\n").slice(0, -1).map((line) => JSON.parse(line));
  const messages = records.filter((record) => (record.type === "user" || record.type === "assistant") && !record.isSidechain);
  return { messageCount: messages.length, created: messages[0].timestamp, modified: messages.at(-1).timestamp };
}

const times = [];
let entry;
for (let run = 0; run < 5; run++) {
  const begun = performance.now();
  entry = entryOf();
  times.push(performance.now() - begun);
}
console.log(JSON.stringify({ bytes: statSync(path).size, counted: entry.messageCount, parse_ms: Number(Math.min(...times).toFixed(1)) }));
