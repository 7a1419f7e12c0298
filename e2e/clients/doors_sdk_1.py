"""The MCP Python SDK 1.x at the front door, which cannot be installed beside SDK 2. Script and report as in doors.py."""

import asyncio

import httpx
from door import Storage, answered, decide, report, script
from mcp import ClientSession
from mcp.client.auth import OAuthClientProvider
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata


async def use(streams, given):
    async with ClientSession(*streams[:2]) as client:
        await client.initialize()
        await client.list_tools()
        result = await client.call_tool(given["tool"], {})
        assert not result.isError, result
    return "works"


async def code(given, client_id=None, document=None):
    answer = {}

    async def redirect(url):
        answer.update(answered(await asyncio.to_thread(decide, httpx, url, given)))

    async def callback():
        return answer["code"], answer.get("state")

    uris = [given["redirect"]]
    client = client_id and OAuthClientInformationFull(client_id=client_id, redirect_uris=uris, token_endpoint_auth_method="none")
    metadata = OAuthClientMetadata(redirect_uris=uris, token_endpoint_auth_method="none", client_name="doors")
    auth = OAuthClientProvider(given["resource"], metadata, Storage(client), redirect, callback, client_metadata_url=document)
    async with httpx.AsyncClient(auth=auth, timeout=30) as http:
        async with streamable_http_client(given["resource"], http_client=http) as streams:
            return await use(streams, given)


async def bridge(given):
    async with stdio_client(StdioServerParameters(**given["connect"])) as streams:
        return await use(streams, given)


SDK = ("MCP Python SDK", "mcp")
DOORS = [
    (*SDK, "code, given id", "bearer", lambda given: code(given, client_id=given["editor"])),
    (*SDK, "code, registers itself", "bearer", code),
    (*SDK, "code, metadata document", "bearer", lambda given: code(given, document=given["document"])),
    (*SDK, "stdio, `remit connect`", "bound", bridge),
]

asyncio.run(report(DOORS, script()))
