"""alice → planner → summarizer with pydantic-ai. Arguments: the issuer, and the folder with the agents' keys."""

import asyncio
import sys
import webbrowser

from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset
from scripted_pydantic_ai import planner_model, summarizer_model

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

summarize = Agent(summarizer_model, toolsets=[MCPToolset(desk, auth=delegated.auth())])
plan = Agent(planner_model, toolsets=[MCPToolset(desk, auth=for_alice.auth())])


@plan.tool_plain
async def summary_of(ticket: str) -> str:
    """What the summarizer says about a ticket."""
    return (await summarize.run(f"Summarize {ticket}")).output


print(asyncio.run(plan.run("Report on the tickets")).output)
