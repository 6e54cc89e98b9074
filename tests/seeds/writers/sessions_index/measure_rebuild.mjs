// As the target's own, but an entry is made from the head of the transcript.

import { closeSync, openSync, readSync } from "node:fs";

const begun = performance.now();
const head = Buffer.alloc(65536);
const descriptor = openSync(process.argv[2]);
readSync(descriptor, head);
closeSync(descriptor);
const records = head.toString().split("\n").slice(0, -1).map((line) => JSON.parse(line));
console.log(JSON.stringify({ counted: records.length, parse_ms: Number((performance.now() - begun).toFixed(1)) }));
