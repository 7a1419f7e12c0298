"""pydantic-ai with a `FunctionModel`; see scenario.py."""

import asyncio

import httpx2
from fastmcp.client.transports import StdioTransport
from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.messages import ModelResponse, RetryPromptPart, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import FunctionModel
from scenario import FINAL_TEXT, Scenario

scenario = Scenario()


async def model(messages, info):
    parts = [part for message in messages for part in message.parts]
    results = [part.content for part in parts if isinstance(part, ToolReturnPart | RetryPromptPart)]
    calls = await scenario.next(results)
    if not calls:
        return ModelResponse(parts=[TextPart(FINAL_TEXT)])
    return ModelResponse(parts=[ToolCallPart(call["name"], call["arguments"], tool_call_id=call["id"]) for call in calls])


async def main():
    connect = scenario.connect
    if scenario.over_stdio:
        server = MCPToolset(StdioTransport(connect["command"], connect["args"]))
    else:
        server = MCPToolset(connect["url"], auth=scenario.agent().auth(httpx2))
    agent = Agent(FunctionModel(model), toolsets=[server])
    async with agent:
        scenario.report((await agent.run("Look after the tickets.")).output)


asyncio.run(main())
