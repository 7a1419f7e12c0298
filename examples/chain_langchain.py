"""alice → planner → summarizer with LangChain. Arguments: the issuer, and the folder with the agents' keys."""

import asyncio
import sys
import webbrowser

from langchain_core.tools import tool
from langchain_mcp_adapters.client import MultiServerMCPClient
from langgraph.prebuilt import create_react_agent
from scripted_langchain import planner_model, summarizer_model

import remit_agent

issuer, keys = sys.argv[1:]
desk = f"{issuer}/mcp/helpdesk"
planner = remit_agent.Agent(issuer, "planner", f"{keys}/planner.pem")
summarizer = remit_agent.Agent(issuer, "summarizer", f"{keys}/summarizer.pem")

reading = {"type": "tool_access", "locations": [desk], "actions": ["tickets_list", "tickets_read"]}
passed_on = {"to": [summarizer.client_id], "depth": 1}
for_alice = planner.login(
    desk, webbrowser.open, authorization_details=[{**reading, "delegate": passed_on}], purpose="weekly report"
)
delegated = for_alice.child(summarizer, scope="helpdesk:tickets_read")


async def ask(agent, model, question, *tools):
    at_desk = {"transport": "streamable_http", "url": desk, "httpx_client_factory": agent.client_factory}
    tools = [*await MultiServerMCPClient({"desk": at_desk}).get_tools(), *tools]
    answer = await create_react_agent(model, tools).ainvoke({"messages": [("user", question)]})
    return answer["messages"][-1].content


@tool
async def summary_of(ticket: str) -> str:
    """What the summarizer says about a ticket."""
    return await ask(delegated, summarizer_model, f"Summarize {ticket}")


print(asyncio.run(ask(for_alice, planner_model, "Report on the tickets", summary_of)))
