"""google-adk with a `BaseLlm` of its own; see scenario.py."""

import asyncio
import os

# The framework looks for credentials of a cloud at an address outside this machine.
os.environ["NO_GCE_CHECK"] = "true"

from google.adk.agents import LlmAgent
from google.adk.models import BaseLlm, LlmResponse
from google.adk.runners import InMemoryRunner
from google.adk.tools.mcp_tool import McpToolset, StdioConnectionParams, StreamableHTTPConnectionParams
from google.genai import types
from mcp import StdioServerParameters
from scenario import FINAL_TEXT, Scenario

scenario = Scenario()


class Scripted(BaseLlm):
    async def generate_content_async(self, request, stream=False):
        parts = [part for content in request.contents for part in content.parts or []]
        results = [part.function_response.response for part in parts if part.function_response]
        calls = await scenario.next(results)
        parts = [
            types.Part(function_call=types.FunctionCall(id=call["id"], name=call["name"], args=call["arguments"]))
            for call in calls
        ]
        yield LlmResponse(content=types.Content(role="model", parts=parts or [types.Part(text=FINAL_TEXT)]))


async def main():
    connect = scenario.connect
    if scenario.over_stdio:
        server = StdioServerParameters(command=connect["command"], args=connect["args"])
        parameters = StdioConnectionParams(server_params=server, timeout=60)
    else:
        factory = scenario.agent().client_factory
        parameters = StreamableHTTPConnectionParams(url=connect["url"], timeout=60, httpx_client_factory=factory)
    tools = McpToolset(connection_params=parameters)
    agent = LlmAgent(name="clerk", model=Scripted(model="scripted"), tools=[tools])
    runner = InMemoryRunner(agent=agent, app_name="clerk")
    session = await runner.session_service.create_session(app_name="clerk", user_id="alice")
    message = types.Content(role="user", parts=[types.Part(text="Look after the tickets.")])
    final_text = None
    async for event in runner.run_async(user_id="alice", session_id=session.id, new_message=message):
        if event.is_final_response() and event.content and event.content.parts:
            final_text = event.content.parts[0].text
    await tools.close()
    scenario.report(final_text)


asyncio.run(main())
