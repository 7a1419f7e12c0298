"""The official Python SDK: plays the same script as the TypeScript clients (see play.mjs), in the era named by argv[2]."""

import asyncio
import json
import sys

import httpx2
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from remit_agent import Agent


async def play(server, mode, calls):
    async with Client(server, mode=mode) as client:
        listed = await client.list_tools()
        results = []
        for call in calls:
            seen = []

            async def progress(done, total, message):
                seen.append(done)

            try:
                callback = progress if call.get("progress") else None
                result = await client.call_tool(call["name"], call.get("arguments") or {}, progress_callback=callback)
                text = next((block.text for block in result.content if block.type == "text"), None)
                outcome = {"isError": bool(result.is_error), "structured": result.structured_content, "text": text, "refused": (result.meta or {}).get("remit/code")}
            except MCPError as error:
                outcome = {"error": {"code": error.error.code, "message": error.error.message, "data": error.error.data}}
            except RuntimeError as error:
                # The SDK does not accept the result.
                outcome = {"error": {"message": str(error)}}
            results.append({"name": call["name"], "progress": len(seen), **outcome})
        return {"protocol": client.protocol_version, "tools": [tool.name for tool in listed.tools], "calls": results}


async def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        script = json.load(file)
    connect, mode = script["connect"], {"legacy": "legacy", "modern": "2026-07-28"}[sys.argv[2]]
    if "command" in connect:
        server = StdioServerParameters(command=connect["command"], args=connect.get("args", []), env=connect.get("env"))
        print(json.dumps(await play(server, mode, script["calls"])))
        return
    named = connect.get("agent")
    auth = Agent(connect["issuer"], named, connect["key_file"]).auth(httpx2) if named else None
    async with httpx2.AsyncClient(auth=auth, timeout=30) as http:
        print(json.dumps(await play(streamable_http_client(connect["url"], http_client=http), mode, script["calls"])))


asyncio.run(main())
