"""alice → planner → summarizer with openai-agents. Arguments: the issuer, and the folder with the agents' keys."""

import asyncio
import sys
import webbrowser

from agents import Agent, Runner
from agents.mcp import MCPServerStreamableHttp
from scripted_openai_agents import planner_model, summarizer_model

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


async def main():
    mine = MCPServerStreamableHttp({"url": desk, "auth": for_alice.auth()})
    theirs = MCPServerStreamableHttp({"url": desk, "auth": delegated.auth()})
    async with mine, theirs:
        summarize = Agent("summarizer", model=summarizer_model, mcp_servers=[theirs])
        tool = summarize.as_tool("summary_of", "What the summarizer says about a ticket")
        plan = Agent("planner", model=planner_model, mcp_servers=[mine], tools=[tool])
        print((await Runner.run(plan, "Report on the tickets")).final_output)


asyncio.run(main())
