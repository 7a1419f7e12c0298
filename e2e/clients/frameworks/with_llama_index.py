"""llama-index-tools-mcp with a function agent and a chat model of its own; see scenario.py."""

import asyncio
import json

import httpx2
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole, ToolCallBlock
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.tools.mcp import BasicMCPClient, McpToolSpec
from scenario import FINAL_TEXT, Scenario

scenario = Scenario()


class Scripted(MockFunctionCallingLLM):
    async def achat(self, messages, **kwargs):
        calls = await scenario.next([message.content for message in messages if message.role == MessageRole.TOOL])
        blocks = [
            ToolCallBlock(tool_name=call["name"], tool_call_id=call["id"], tool_kwargs=json.dumps(call["arguments"]))
            for call in calls
        ]
        message = ChatMessage(role=MessageRole.ASSISTANT, blocks=blocks) if calls else ChatMessage(FINAL_TEXT, role="assistant")
        return ChatResponse(message=message)


async def main():
    connect = scenario.connect
    if scenario.over_stdio:
        client = BasicMCPClient(connect["command"], args=connect["args"])
    else:
        client = BasicMCPClient(connect["url"], auth=scenario.agent().auth(httpx2))
    tools = await McpToolSpec(client).to_tool_list_async()
    agent = FunctionAgent(tools=tools, llm=Scripted(), streaming=False, timeout=300)
    answer = await agent.run("Look after the tickets.", max_iterations=len(scenario.turns) + 2)
    scenario.report(str(answer))


asyncio.run(main())
