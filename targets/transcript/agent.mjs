// The life of a program that keeps transcripts, as in agent.py, for writers that know nothing of interruptions.
//
//     WRITER.mjs run DIR WORKLOAD
//     WRITER.mjs recover DIR WORKLOAD

import { existsSync, mkdirSync, readFileSync } from "node:fs";

import { Chat, Workload, moves, projectDirectory, say } from "./conversation.mjs";
import { connect } from "./tools.mjs";

const IN_CHAIN = new Set(["user", "assistant", "progress", "system", "attachment"]);

// Lines end at \n alone; readline and a split by /\r?\n|\u2028/ would see more of them.
function chainRecords(path) {
  if (!existsSync(path)) return [];
  return readFileSync(path, "utf8")
    .split("\n")
    .flatMap((line) => {
      try {
        return [JSON.parse(line)];
      } catch {
        return [];
      }
    })
    .filter((record) => IN_CHAIN.has(record?.type) && typeof record.uuid === "string");
}

function leafOf(records) {
  const parents = new Set(records.map((record) => record.parentUuid));
  return records.findLast((record) => !parents.has(record.uuid))?.uuid ?? null;
}

class Agent {
  constructor(root, workload, writer) {
    Object.assign(this, { root, workload, writer, chats: new Map() });
  }

  open(name, era) {
    const path = this.workload.path(this.root, name);
    const records = chainRecords(path);
    const apart = era === "recover" ? `recover ${records.length}` : era; // recovering twice makes no uuid twice
    const chat = new Chat(this.workload, name, path, apart, leafOf(records));
    this.chats.set(name, chat);
    return chat;
  }

  async run() {
    const tools = connect(this.workload);
    say("ARMED");
    mkdirSync(projectDirectory(this.root), { recursive: true });
    for (const name of this.workload.sessions) this.open(name, `life ${this.workload.life}`);
    for (const [step, toolIds] of moves(this.workload.steps))
      await this.play(step, toolIds, this.chats.get(step.session), tools);
    await this.writer.settle();
    if (process.env.TORNWRITE_LIFE !== undefined) {
      say("IDLE");
      await tools.waitForExit();
    }
    await this.writer.close();
    tools.close();
  }

  async play(step, toolIds, chat, tools) {
    const { writer } = this;
    if (step.do === "user") {
      await writer.settle();
      await writer.save(chat.path, chat.prompt(`Prompt ${step.at}`));
    } else if (step.do === "assistant") {
      for (const record of chat.answer(step.at, toolIds)) await writer.save(chat.path, record);
      for (const toolId of toolIds) tools.start(toolId);
    } else if (step.do === "update") {
      await writer.save(chat.path, chat.title(step.at));
    } else {
      const event = await tools.next(step);
      if (event.tool_id) writer.saveResult(chat.path, chat.result(event.tool_id, event.result, event.is_error));
      else await this.interrupt(event.do, step.at, chat);
    }
  }

  async interrupt(what, turn, chat) {
    if (what === "new_message") await this.writer.save(chat.path, chat.prompt(`Prompt ${turn} beside the tools`));
    else if (what === "mode_switch") await this.writer.save(chat.path, chat.mode("plan"));
    else if (what === "escape") {
      chat.open.clear();
      await this.writer.save(chat.path, chat.interruption());
    } else {
      process.kill(process.pid, "SIGINT");
      await new Promise(() => setTimeout(() => {}, 60_000)); // the signal ends the program here
    }
  }

  async recover() {
    mkdirSync(projectDirectory(this.root), { recursive: true });
    const there = this.workload.sessions.filter((name) => existsSync(this.workload.path(this.root, name)));
    for (const name of there.length ? there : this.workload.sessions.slice(0, 1)) {
      const chat = this.open(name, "recover");
      await this.writer.save(chat.path, chat.prompt("Prompt after recovery"));
    }
    await this.writer.settle();
    await this.writer.close();
  }
}

export async function main(writer) {
  const [command, root, workloadPath] = process.argv.slice(2);
  const agent = new Agent(root, new Workload(workloadPath), writer);
  try {
    await (command === "run" ? agent.run() : agent.recover());
  } catch (error) {
    process.stderr.write(`error: ${command}: ${error.code ?? error.message}\n`);
    process.exit(1);
  }
}
