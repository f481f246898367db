// LLMRTC's own playbook orchestrator with a scripted LLM. Reads {playbook, conversations} from its standard
// input; a conversation is a list of turns, a turn what the LLM does: words, or {name, arguments} for a call.
// Writes for each what the LLM did, without calls that it wasn't offered, and the stages that each turn led to.
import { readFileSync } from 'node:fs';
import { PlaybookOrchestrator, ToolRegistry } from '@llmrtc/llmrtc-core';

const { playbook, conversations } = JSON.parse(readFileSync(0, 'utf8'));
const definitions = [playbook.globalTools ?? [], ...playbook.stages.map((stage) => stage.tools ?? [])].flat();

function registry() {
  const tools = new ToolRegistry();
  for (const definition of definitions) {
    if (!tools.has(definition.name)) tools.register({ definition, handler: async () => ({ success: true }) });
  }
  return tools;
}

async function converse(turns) {
  let script = [];
  const done = [];
  const led = [];
  const llm = {
    name: 'scripted',
    async complete({ tools, toolChoice }) {
      const offered = toolChoice === 'none' ? [] : (tools ?? []).map(({ name }) => name);
      script = script.filter((spoken) => typeof spoken === 'string' || offered.includes(spoken.name));
      const spoken = script.shift();
      done.at(-1).push(spoken);
      if (typeof spoken === 'string') return { fullText: spoken, stopReason: 'end_turn' };
      return { fullText: '', stopReason: 'tool_use', toolCalls: [{ callId: 'call', ...spoken }] };
    },
  };
  const orchestrator = new PlaybookOrchestrator(llm, playbook, registry());
  orchestrator.on((event) => {
    if (event.type === 'stage_enter') led.at(-1).push(event.stage.id);
  });
  for (const turn of turns) {
    done.push([]);
    led.push([]);
    script = [...turn];
    for await (const item of orchestrator.streamTurn('Hm.')) void item; // the voice server's own way
  }
  return { turns: done, led };
}

console.log(JSON.stringify(await Promise.all(conversations.map(converse))));
