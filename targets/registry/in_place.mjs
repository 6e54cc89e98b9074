// The writer of in_place.py as a Node program has it: every document through fs.writeFile.
//
//     in_place.mjs DIR WORKLOAD
//
// It leaves the same bytes as in_place.py; what comes after a crash is the same program too.

import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { writeFile } from "node:fs/promises";
import { basename, join } from "node:path";

const [root, workloadPath] = process.argv.slice(2);
const workload = JSON.parse(fs.readFileSync(workloadPath, "utf8"));
const { seed } = workload;
const now = Number(process.env.TORNWRITE_NOW || workload.now_ms);
const sessions = Math.max(1, workload.sessions);

const say = (line) => fs.writeSync(1, line + "\n");
const encode = (document) => JSON.stringify(document);
const bytesOf = (document) => Buffer.byteLength(encode(document));

function digits(name, length) {
  let found = "";
  for (let block = 0; found.length < length; block++) found += createHash("blake2b512").update(`${seed}/${name}/${block}`).digest("hex");
  return found.slice(0, length);
}

const text = (name, length) => ("é\u2028" + digits(name, length)).slice(0, length);
const number = (name, low, high) => low + (parseInt(digits(name, 8), 16) % (high - low + 1));
const uuidOf = (name) => digits(name, 32).replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");

function registryDirectory() {
  let directory = join(root, "claude-code-sessions");
  for (let level = 0; level < 2; level++) directory = join(directory, fs.readdirSync(directory).sort()[0]);
  return directory;
}

function readDocument(path) {
  try {
    return JSON.parse(fs.readFileSync(path, "utf8"));
  } catch {
    return null;
  }
}

function append(path, line) {
  const data = Buffer.from(line + "\n");
  const descriptor = fs.openSync(path, "a");
  try {
    const size = fs.fstatSync(descriptor).size;
    try {
      for (let done = 0; done < data.length; ) done += fs.writeSync(descriptor, data, done);
      fs.fsyncSync(descriptor);
    } catch (error) {
      fs.ftruncateSync(descriptor, size);
      throw error;
    }
  } finally {
    fs.closeSync(descriptor);
  }
}

function heal() {
  const projects = join(root, "projects");
  for (const project of fs.readdirSync(projects))
    for (const name of fs.readdirSync(join(projects, project))) {
      const path = join(projects, project, name);
      const data = fs.readFileSync(path);
      const end = data.lastIndexOf(10) + 1;
      if (end < data.length) fs.truncateSync(path, end);
    }
}

function appendMessage(path, cwd, atMs, size) {
  const session = basename(path, ".jsonl");
  const records = fs.readFileSync(path, "utf8").split("\n").slice(0, -1).map((line) => JSON.parse(line));
  const last = records.filter((record) => record.type === "user" || record.type === "assistant").at(-1);
  const name = `${session}@${fs.statSync(path).size}`;
  const content = [{ type: "text", text: text(`${name} text`, Math.max(1, size)) }];
  const answer = last?.type === "user";
  const message = answer
    ? { id: "msg_" + digits(`${name} answer`, 24), type: "message", role: "assistant", model: "claude-sonnet-4-5", content,
        stop_reason: "end_turn", usage: { input_tokens: 10, output_tokens: Math.floor(size / 4) } }
    : { role: "user", content };
  const time = last ? Math.max(atMs, Date.parse(last.timestamp) + 1000) : atMs;
  const record = {
    parentUuid: last?.uuid ?? null, isSidechain: false, userType: "external", cwd, sessionId: session, version: "2.1.0",
    gitBranch: "main", type: message.role, message, uuid: uuidOf(name), timestamp: new Date(time).toISOString(),
  };
  append(path, encode(record));
  return record;
}

function updated(entry, index, atMs) {
  const next = { ...entry, lastActivityAt: atMs, completedTurns: (entry.completedTurns ?? 0) + 1 };
  const kind = index % 4;
  if (kind === 1) {
    next.title = text(`title ${index}`, number(`title size ${index}`, 3, 120));
    next.titleSource = "user";
  } else if (kind === 2) next.isPinned = !next.isPinned;
  else if (kind === 3) next.isArchived = !next.isArchived;
  else next.alwaysAllowedReasons = [text(`reason ${index}`, number(`reason size ${index}`, 0, 4000))];
  return next;
}

function padded(entry) {
  const filling = { name: "tools", instructions: "" };
  const whole = { ...entry, remoteMcpServersConfig: [filling] };
  filling.instructions = digits(`${entry.sessionId} ${entry.lastActivityAt}`, 144258 - bytesOf(whole));
  return encode(whole);
}

async function update(directory, session, index) {
  const place = join(directory, session + ".json");
  const entry = readDocument(place);
  const path = join(root, "projects", entry.cwd.replace(/[^a-zA-Z0-9]/g, "-"), entry.cliSessionId + ".jsonl");
  const size = number(`size ${index}`, ...workload.record_bytes);
  const { uuid, timestamp } = appendMessage(path, entry.cwd, now + index * 1000, size);
  const changed = updated(entry, index + Math.floor(index / sessions), Date.parse(timestamp));
  if (changed.title !== entry.title) append(path, encode({ type: "custom-title", customTitle: changed.title, sessionId: entry.cliSessionId }));
  await writeFile(place, padded(changed));
  const leasePath = join(directory, "git-worktrees.json");
  const leases = readDocument(leasePath);
  if (leases !== null && index % 3 === 0) {
    leases.worktrees.spare.leasedBy = leases.worktrees.spare.leasedBy ? null : session;
    await writeFile(leasePath, encode(leases));
  }
  say(`ACK ${uuid}`);
}

try {
  say("ARMED");
  heal();
  const directory = registryDirectory();
  for (let index = 1; index <= workload.updates; index++) {
    const session = `local_${uuidOf(`desktop s${index % sessions}`)}`;
    if (readDocument(join(directory, session + ".json")) !== null) await update(directory, session, index);
  }
} catch (error) {
  process.stderr.write(`error: run: ${error.code ?? error.message}\n`);
  process.exit(1);
}
