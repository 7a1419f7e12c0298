"""Unmodified Python clients at the front door: the three providers of the MCP SDK, and Authlib. What each gets, or the words it gets.

Script: {issuer, resource, tool, client, key_file, public, redirect, user, password}; prints a list of {client, mode, result | words}.
"""

import asyncio
import base64
import hashlib
import html
import json
import re
import secrets
import sys
from importlib.metadata import version
from urllib.parse import parse_qs, urlsplit

import httpx2
from authlib.integrations.requests_client import OAuth2Session
from mcp.client import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider, PrivateKeyJWTOAuthProvider, SignedJWTParameters
from mcp.client.auth.oauth2 import AuthorizationCodeResult
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata


class Storage:
    """Keeps tokens in memory; the client is registered already, where one is given."""

    def __init__(self, client=None):
        self.client, self.tokens = client, None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


async def person(url, script):
    """A person opens the page, signs in and allows; what the program's redirect URI was given."""
    hidden = lambda page: html.unescape(re.search(r'name="request" value="([^"]*)"', page.text)[1])
    async with httpx2.AsyncClient(base_url=script["issuer"]) as browser:
        page = await browser.get(url)
        if not page.is_redirect:
            form = {"username": script["user"], "password": script["password"], "request": hidden(page)}
            page = await browser.post("/oauth/login", data=form)
        if not page.is_redirect:
            page = await browser.post("/oauth/consent", data={"request": hidden(page), "decision": "allow"})
        return {name: values[0] for name, values in parse_qs(urlsplit(page.headers["location"]).query).items()}


def words(error):
    """The innermost words: task groups wrap what the client says."""
    while getattr(error, "exceptions", None):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"


async def call(auth, script):
    """Lists and calls through the SDK's own client."""
    async with httpx2.AsyncClient(auth=auth, timeout=30) as http:
        async with Client(streamable_http_client(script["resource"], http_client=http)) as client:
            await client.list_tools()
            result = await client.call_tool(script["tool"], {})
            assert not result.is_error, result
    return "works"


async def signed_jwt(script):
    with open(script["key_file"], encoding="utf-8") as file:
        key = file.read()
    parameters = SignedJWTParameters(issuer=script["client"], subject=script["client"], signing_key=key, signing_algorithm="EdDSA")
    return await call(PrivateKeyJWTOAuthProvider(script["resource"], Storage(), script["client"], parameters.create_assertion_provider()), script)


async def secret(script):
    return await call(ClientCredentialsOAuthProvider(script["resource"], Storage(), script["client"], "a secret"), script)


async def code(script):
    answer = {}

    async def redirect(url):
        answer.update(await person(url, script))

    async def callback():
        if "error" in answer:
            raise RuntimeError(f"{answer['error']}: {answer.get('error_description')}")
        return AuthorizationCodeResult(code=answer["code"], state=answer.get("state"), iss=answer.get("iss"))

    uris = [script["redirect"]]
    client = OAuthClientInformationFull(client_id=script["public"], redirect_uris=uris, token_endpoint_auth_method="none", issuer=script["issuer"])
    metadata = OAuthClientMetadata(redirect_uris=uris, token_endpoint_auth_method="none", client_name="doors")
    return await call(OAuthClientProvider(script["resource"], metadata, Storage(client), redirect, callback), script)


async def authlib(script):
    session = OAuth2Session(script["public"], redirect_uri=script["redirect"], token_endpoint_auth_method="none", code_challenge_method="S256")
    verifier = secrets.token_urlsafe(48)
    asked = {"code_verifier": verifier, "resource": script["resource"]}
    url, _ = session.create_authorization_url(script["issuer"] + "/oauth/authorize", **asked)
    answer = await person(url, script)
    assert "code" in answer, answer
    assert base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode() in url
    session.fetch_token(script["issuer"] + "/oauth/token", code=answer["code"], code_verifier=verifier)
    listing = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "doors", "version": "1"}}}
    reply = session.post(script["resource"], json=listing, headers={"accept": "application/json, text/event-stream"})
    assert reply.status_code == 200, reply.text
    return "works"


DOORS = [
    ("MCP Python SDK", "mcp", "`PrivateKeyJWTOAuthProvider`", signed_jwt),
    ("MCP Python SDK", "mcp", "`ClientCredentialsOAuthProvider`", secret),
    ("MCP Python SDK", "mcp", "`OAuthClientProvider`, given id", code),
    ("Authlib", "Authlib", "`OAuth2Session`, code", authlib),
]


async def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        script = json.load(file)
    report = []
    for name, package, mode, door in DOORS:
        one = {"client": f"{name} {version(package)}", "mode": mode}
        try:
            one["result"] = await door(script)
        except BaseException as error:  # noqa: BLE001 -- whatever the client says is the result
            one["words"] = words(error)
        report.append(one)
    print(json.dumps(report))


asyncio.run(main())
