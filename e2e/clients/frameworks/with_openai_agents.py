"""openai-agents with a `Model` of its own; see scenario.py."""

import asyncio
import json

import httpx2
from agents import Agent, Model, ModelResponse, Runner, Usage, set_tracing_disabled
from agents.mcp import MCPServerStdio, MCPServerStreamableHttp
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText
from scenario import FINAL_TEXT, Scenario

scenario = Scenario()
set_tracing_disabled(True)


class Scripted(Model):
    async def get_response(self, system_instructions, input, *args, **kwargs):
        items = [] if isinstance(input, str) else input
        calls = await scenario.next([item["output"] for item in items if item.get("type") == "function_call_output"])
        output = [
            ResponseFunctionToolCall(
                type="function_call", call_id=call["id"], name=call["name"], arguments=json.dumps(call["arguments"])
            )
            for call in calls
        ]
        if not output:
            text = ResponseOutputText(type="output_text", text=FINAL_TEXT, annotations=[])
            output = [ResponseOutputMessage(id="last", type="message", role="assistant", status="completed", content=[text])]
        return ModelResponse(output=output, usage=Usage(), response_id=None)

    def stream_response(self, *args, **kwargs):
        raise NotImplementedError


async def main():
    connect = scenario.connect
    if scenario.over_stdio:
        server = MCPServerStdio({"command": connect["command"], "args": connect["args"]}, client_session_timeout_seconds=60)
    else:
        params = {"url": connect["url"], "auth": scenario.agent().auth(httpx2), "timeout": 60}
        server = MCPServerStreamableHttp(params, client_session_timeout_seconds=60)
    async with server:
        agent = Agent("clerk", model=Scripted(), mcp_servers=[server])
        result = await Runner.run(agent, "Look after the tickets.", max_turns=len(scenario.turns) + 2)
        scenario.report(result.final_output)


asyncio.run(main())
