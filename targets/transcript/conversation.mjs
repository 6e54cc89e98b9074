// What conversation.py derives, for the writers that run in Node: the same workload gives the same records.

import { createHash } from "node:crypto";
import { readFileSync, writeSync } from "node:fs";
import { join } from "node:path";

const PROJECT = "/srv/app";
const INTERRUPTED = "[Request interrupted by user for tool use]";
const MASK = (1n << 64n) - 1n;
const PROMPT_MAX = 2000;
const ANSWER_MAX = 4000;

export const say = (line) => writeSync(1, line + "\n");
export const encode = (record) => JSON.stringify(record) + "\n";

export function acknowledge(record) {
  if (record.uuid) say(`ACK ${record.uuid}`);
}

function words(seed, name, length) {
  let state = (seed * 0x9e3779b97f4a7c15n + 1n) & MASK;
  for (const char of name) state = ((state ^ BigInt(char.codePointAt(0))) * 0x100000001b3n) & MASK;
  const parts = [];
  for (let size = 0; size < length; ) {
    state = (state * 6364136223846793005n + 1442695040888963407n) & MASK;
    const part = state >> 60n ? `${(state >> 16n).toString(16)} ` : "\u2028";
    parts.push(part);
    size += part.length;
  }
  return parts.join("").slice(0, length);
}

function number(seed, name, low, high) {
  const digits = words(seed, name, 64).replace(/[^0-9]/g, "").slice(0, 9);
  return low + (Number(digits || "0") % (high - low + 1));
}

const digestOf = (seed, name) => createHash("blake2b512").update(`${seed}/${name}`).digest("hex").slice(0, 32);
const uuidOf = (seed, name) => digestOf(seed, name).replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
export const resultOf = words;

export class Workload {
  constructor(path) {
    const text = readFileSync(path, "utf8");
    const data = JSON.parse(text);
    this.seed = BigInt(/"seed": *(\d+)/.exec(text)[1]); // a number of JSON.parse holds 53 bits of it
    this.nowMs = Number(process.env.TORNWRITE_NOW || data.now_ms);
    this.life = process.env.TORNWRITE_LIFE || "0";
    this.updates = data.updates;
    this.recordBytes = data.record_bytes;
    this.tools = data.tools;
    this.sessions = Array.from({ length: Math.max(1, data.sessions) }, (_, index) => `s${index}`);
    this.steps = data.steps.length ? data.steps : [...this.derivedSteps()];
  }

  *derivedSteps() {
    for (let turn = 0; turn < this.updates; turn++)
      for (const name of this.sessions) {
        yield { at: turn, do: "user", session: name };
        yield { at: turn, do: "assistant", session: name };
        const tools = [];
        for (let index = 0; index < Math.max(1, this.tools.parallel); index++) {
          const toolId = "toolu_" + digestOf(this.seed, `${name}/${this.life}/${turn}/${index}`).slice(0, 24);
          const size = number(this.seed, toolId, ...this.tools.result_bytes);
          tools.push({ at: turn, session: name, tool_id: toolId, result_bytes: size });
        }
        for (const what of ["tool_start", "tool_done"]) for (const tool of tools) yield { do: what, ...tool };
      }
  }

  path(root, name) {
    return join(projectDirectory(root), uuidOf(this.seed, name) + ".jsonl");
  }
}

export const projectDirectory = (root) => join(root, "projects", PROJECT.replace(/[^a-zA-Z0-9]/g, "-"));

// Yield [step, the ids of its tools]: an assistant's answer and the tools it starts are one move.
export function* moves(steps) {
  let answer;
  let tools = [];
  for (const step of [...steps, undefined]) {
    if (step?.do === "tool_start") {
      tools.push(step.tool_id);
      continue;
    }
    if (answer) yield [answer, tools];
    [answer, tools] = [undefined, []];
    if (step?.do === "assistant") answer = step;
    else if (step) yield [step, []];
  }
}

export class Chat {
  constructor(workload, name, path, era, parent) {
    Object.assign(this, { workload, name, path, era, parent, id: uuidOf(workload.seed, name), made: 0 });
    this.open = new Map(); // tool id -> uuid of the record that calls it
  }

  record(kind, message, extra = {}) {
    this.made += 1;
    const record = {
      parentUuid: this.parent,
      isSidechain: false,
      userType: "external",
      cwd: PROJECT,
      sessionId: this.id,
      version: "2.1.0",
      gitBranch: "main",
      type: kind,
      message,
      uuid: uuidOf(this.workload.seed, `${this.name}/${this.era}/${this.made}`),
      timestamp: new Date(this.workload.nowMs + this.made * 1000).toISOString(),
      ...extra,
    };
    this.parent = record.uuid;
    return record;
  }

  text(what, most) {
    const [low, high] = this.workload.recordBytes;
    const name = `${this.name}/${this.era}/${what}`;
    return words(this.workload.seed, name, number(this.workload.seed, name, Math.min(low, most), Math.min(high, most)));
  }

  prompt(what) {
    return this.record("user", { role: "user", content: `${what}: ${this.text(what, PROMPT_MAX)}` });
  }

  // One record per block; the blocks share the id of their message.
  answer(turn, toolIds) {
    const blocks = [{ type: "text", text: `Answer ${turn}: ${this.text(`answer ${turn}`, ANSWER_MAX)}` }];
    for (const id of toolIds)
      blocks.push({ type: "tool_use", id, name: "Read", input: { file_path: `/srv/app/${id.slice(-6)}.py` } });
    const digest = digestOf(this.workload.seed, `${this.name}/${this.era}/message ${turn}`).slice(0, 24);
    return blocks.map((block) => {
      const message = {
        id: `msg_${digest}`,
        type: "message",
        role: "assistant",
        model: "claude-sonnet-4-5",
        content: [block],
        stop_reason: toolIds.length ? "tool_use" : "end_turn",
        usage: { input_tokens: 10 + turn, output_tokens: 20 },
      };
      const record = this.record("assistant", message, { requestId: `req_${digest}` });
      if (block.type === "tool_use") this.open.set(block.id, record.uuid);
      return record;
    });
  }

  result(toolId, text, isError = false) {
    const block = { type: "tool_result", tool_use_id: toolId, content: text, is_error: isError };
    const askedBy = this.open.get(toolId) ?? null;
    this.open.delete(toolId);
    return this.record("user", { role: "user", content: [block] }, { sourceToolAssistantUUID: askedBy });
  }

  interruption() {
    return this.record("user", { role: "user", content: [{ type: "text", text: INTERRUPTED }] });
  }

  mode(mode) {
    return { type: "permission-mode", permissionMode: mode, sessionId: this.id };
  }

  title(turn) {
    return { type: "custom-title", customTitle: `Title ${turn}`, sessionId: this.id };
  }
}
