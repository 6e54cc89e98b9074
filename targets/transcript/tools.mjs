// The tools that a conversation calls, as in tools.py: the service named by TORNWRITE_TOOLS, or results at once.

import { createConnection } from "node:net";
import { createInterface } from "node:readline";

import { resultOf } from "./conversation.mjs";

export function connect(workload) {
  const address = process.env.TORNWRITE_TOOLS;
  return address ? new Service(address) : new Derived(workload.seed);
}

class Derived {
  constructor(seed) {
    this.seed = seed;
  }

  start() {}

  async next(step) {
    if (step.do !== "tool_done") return step;
    return { tool_id: step.tool_id, result: resultOf(this.seed, step.tool_id, step.result_bytes), is_error: false };
  }

  async waitForExit() {
    for await (const _ of process.stdin);
  }

  close() {}
}

class Service {
  constructor(address) {
    const [, host, port] = /^tcp:(.*):(\d+)$/.exec(address) ?? [];
    this.socket = host ? createConnection(Number(port), host) : createConnection(address.slice("unix:".length));
    this.lines = createInterface({ input: this.socket, crlfDelay: Infinity })[Symbol.asyncIterator]();
  }

  start(toolId) {
    this.socket.write(JSON.stringify({ start: toolId }) + "\n");
  }

  async next(step) {
    const { value, done } = await this.lines.next();
    if (done) throw new Error(`the tool service hung up before ${step.do}`);
    const event = JSON.parse(value);
    if ((event.tool_id ?? event.do) !== (step.tool_id ?? step.do))
      throw new Error(`the tool service is at another step than ${step.do}`);
    return event;
  }

  async waitForExit() {
    for (;;) {
      const { value, done } = await this.lines.next();
      if (done || value === "exit" || value.replaceAll(" ", "") === '{"do":"exit"}') return;
    }
  }

  close() {
    this.socket.destroy();
  }
}
