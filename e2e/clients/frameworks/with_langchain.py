"""langchain-mcp-adapters with LangGraph's agent and a chat model of its own; see scenario.py."""

import asyncio

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.tools import load_mcp_tools
from langgraph.prebuilt import create_react_agent
from scenario import FINAL_TEXT, Scenario

scenario = Scenario()


class Scripted(BaseChatModel):
    @property
    def _llm_type(self):
        return "scripted"

    def bind_tools(self, tools, **kwargs):
        return self

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        raise NotImplementedError

    async def _agenerate(self, messages, stop=None, run_manager=None, **kwargs):
        calls = await scenario.next([message.content for message in messages if isinstance(message, ToolMessage)])
        asked = [{"name": call["name"], "args": call["arguments"], "id": call["id"], "type": "tool_call"} for call in calls]
        message = AIMessage(content="" if asked else FINAL_TEXT, tool_calls=asked)
        return ChatResult(generations=[ChatGeneration(message=message)])


async def main():
    connect = scenario.connect
    if scenario.over_stdio:
        connection = {"transport": "stdio", "command": connect["command"], "args": connect["args"]}
    else:
        factory = scenario.agent().client_factory
        connection = {"transport": "streamable_http", "url": connect["url"], "httpx_client_factory": factory}
    async with MultiServerMCPClient({"helpdesk": connection}).session("helpdesk") as session:
        agent = create_react_agent(Scripted(), await load_mcp_tools(session))
        turns = {"recursion_limit": 4 * len(scenario.turns) + 10}
        answer = await agent.ainvoke({"messages": [("user", "Look after the tickets.")]}, turns)
        scenario.report(answer["messages"][-1].content)


asyncio.run(main())
