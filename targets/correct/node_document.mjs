// A document replaced durably from Node: unique temporary, fsync, rename, fsync of the directory.
//
//     node_document.mjs run DIR WORKLOAD
//     node_document.mjs recover DIR WORKLOAD

import { createHash } from "node:crypto";
import { closeSync, fsyncSync, openSync, readFileSync, readdirSync, renameSync, unlinkSync, writeSync } from "node:fs";
import { join } from "node:path";

const [command, root, workloadPath] = process.argv.slice(2);
const workload = JSON.parse(readFileSync(workloadPath, "utf8"));
const path = join(root, "document.json");

function valueOf(number) {
  const digest = createHash("sha256").update(`${workload.seed}/${number}`).digest("hex");
  const [low, high] = workload.record_bytes;
  const size = low + (parseInt(digest.slice(0, 8), 16) % (high - low + 1));
  return digest.repeat(Math.floor(size / digest.length) + 1).slice(0, size);
}

function writeAll(descriptor, data) {
  for (let done = 0; done < data.length; ) done += writeSync(descriptor, data, done);
}

function syncDirectory() {
  if (process.platform === "win32") return;
  const directory = openSync(root, "r");
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}

function save(number) {
  const document = { number, id: String(number), value: valueOf(number) };
  const temporary = join(root, `.document.json.${process.pid}-${number}.tmp`);
  const descriptor = openSync(temporary, "wx", 0o644);
  try {
    try {
      writeAll(descriptor, Buffer.from(JSON.stringify(document)));
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    renameSync(temporary, path);
  } catch (error) {
    try {
      unlinkSync(temporary);
    } catch {
      // Litter that no reader shows; the first error is the one to report.
    }
    throw error;
  }
  syncDirectory();
  writeSync(1, `ACK ${number}\n`);
}

try {
  if (command === "run") {
    writeSync(1, "ARMED\n");
    for (let number = 1; number <= workload.updates; number++) save(number);
  } else {
    for (const name of readdirSync(root)) if (name.startsWith(".") && name.endsWith(".tmp")) unlinkSync(join(root, name));
    let number = 0;
    try {
      number = JSON.parse(readFileSync(path, "utf8")).number;
    } catch (error) {
      if (error.code !== "ENOENT") throw error;
    }
    save(number + 1);
  }
} catch (error) {
  process.stderr.write(`error: ${command}: ${error.code ?? error.message}\n`);
  process.exit(1);
}
