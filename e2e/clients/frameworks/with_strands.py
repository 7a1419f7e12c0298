"""strands-agents with a `Model` of its own; see scenario.py."""

import asyncio
import json

import httpx2
from mcp import StdioServerParameters, stdio_client
from scenario import FINAL_TEXT, Scenario
from strands import Agent
from strands.models import Model
from strands.tools.mcp import MCPClient

scenario = Scenario()


class Scripted(Model):
    def update_config(self, **config):
        pass

    def get_config(self):
        return {}

    def structured_output(self, *args, **kwargs):
        raise NotImplementedError

    async def stream(self, messages, *args, **kwargs):
        blocks = [block for message in messages for block in message["content"]]
        results = [block["toolResult"] for block in blocks if "toolResult" in block]
        calls = await scenario.next(results)
        yield {"messageStart": {"role": "assistant"}}
        for call in calls:
            yield {"contentBlockStart": {"start": {"toolUse": {"name": call["name"], "toolUseId": call["id"]}}}}
            yield {"contentBlockDelta": {"delta": {"toolUse": {"input": json.dumps(call["arguments"])}}}}
            yield {"contentBlockStop": {}}
        if not calls:
            yield {"contentBlockStart": {"start": {}}}
            yield {"contentBlockDelta": {"delta": {"text": FINAL_TEXT}}}
            yield {"contentBlockStop": {}}
        yield {"messageStop": {"stopReason": "tool_use" if calls else "end_turn"}}


async def main():
    connect = scenario.connect
    if scenario.over_stdio:
        parameters = StdioServerParameters(command=connect["command"], args=connect["args"])
        server = MCPClient(lambda: stdio_client(parameters))
    else:
        server = MCPClient(url=connect["url"], auth_provider=scenario.agent().auth(httpx2))
    with server:
        agent = Agent(model=Scripted(), tools=server.list_tools_sync(), callback_handler=None)
        answer = await agent.invoke_async("Look after the tickets.")
        scenario.report(answer.message["content"][0]["text"])


asyncio.run(main())
