"""Unmodified Python clients at the front door: MCP SDK 2, FastMCP and Authlib. What each gets, or the words it gets.

Script: as doors/mod.rs makes it; prints a list of {client, mode, kind, result | words}.
"""

import asyncio
import base64
import hashlib
import secrets
import threading
import warnings
import webbrowser

import httpx2
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from door import Storage, answered, decide, report, script
from fastmcp import Client as FastClient
from fastmcp.client.auth import OAuth
from fastmcp.server.auth.providers.jwt import JWTVerifier
from joserfc.jwk import OKPKey
from mcp.client import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider, PrivateKeyJWTOAuthProvider, SignedJWTParameters
from mcp.client.auth.oauth2 import AuthorizationCodeResult
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata

# FastMCP warns that it keeps tokens in memory, which is what a test wants.
warnings.simplefilter("ignore")


async def use(client, given):
    """Lists and calls through the SDK's own client."""
    await client.list_tools()
    result = await client.call_tool(given["tool"], {})
    assert not result.is_error, result
    return "works"


async def call(auth, given):
    async with httpx2.AsyncClient(auth=auth, timeout=30) as http:
        async with Client(streamable_http_client(given["resource"], http_client=http)) as client:
            return await use(client, given)


async def bridge(given):
    async with Client(stdio_client(StdioServerParameters(**given["connect"]))) as client:
        return await use(client, given)


def key(given):
    with open(given["machine"]["key_file"], encoding="utf-8") as file:
        return file.read()


async def signed_jwt(given):
    parameters = SignedJWTParameters(issuer=given["machine"]["id"], subject=given["machine"]["id"], signing_key=key(given), signing_algorithm="EdDSA")
    return await call(PrivateKeyJWTOAuthProvider(given["resource"], Storage(), given["machine"]["id"], parameters.create_assertion_provider()), given)


async def secret(given):
    return await call(ClientCredentialsOAuthProvider(given["resource"], Storage(), given["machine"]["id"], "a secret"), given)


async def code(given, client_id=None, document=None):
    answer = {}

    async def redirect(url):
        answer.update(answered(await asyncio.to_thread(decide, httpx2, url, given)))

    async def callback():
        return AuthorizationCodeResult(code=answer["code"], state=answer.get("state"), iss=answer.get("iss"))

    uris = [given["redirect"]]
    client = client_id and OAuthClientInformationFull(
        client_id=client_id, redirect_uris=uris, token_endpoint_auth_method="none", issuer=given["issuer"]
    )
    metadata = OAuthClientMetadata(redirect_uris=uris, token_endpoint_auth_method="none", client_name="doors")
    provider = OAuthClientProvider(given["resource"], metadata, Storage(client), redirect, callback, client_metadata_url=document)
    return await call(provider, given)


async def fast(given, **how):
    """FastMCP opens the browser itself and listens for it."""

    class Browser(webbrowser.BaseBrowser):
        def open(self, url, new=0, autoraise=True):
            def visit():
                httpx2.get(decide(httpx2, url, given))

            threading.Thread(target=visit).start()
            return True

    webbrowser.register("person", None, Browser(), preferred=True)
    async with FastClient(given["resource"], auth=OAuth(client_name="doors", callback_timeout=20, **how)) as client:
        return await use(client, given)


async def fast_bridge(given):
    async with FastClient({"mcpServers": {"helpdesk": given["connect"]}}) as client:
        return await use(client, given)


async def verifier(given):
    verifier = JWTVerifier(
        jwks_uri=given["issuer"] + "/.well-known/jwks.json", issuer=given["issuer"], audience=given["resource"],
        algorithm="ES256", required_scopes=["helpdesk:" + given["tool"]],
    )
    accepted = await verifier.verify_token(given["token"])
    assert accepted and accepted.client_id == given["machine"]["id"], accepted
    assert await verifier.verify_token(given["token"][:-4] + "AAAA") is None
    return "works"


async def authlib_code(given):
    session = OAuth2Session(given["editor"], redirect_uri=given["redirect"], token_endpoint_auth_method="none", code_challenge_method="S256")
    proof = secrets.token_urlsafe(48)
    asked = {"code_verifier": proof, "resource": given["resource"]}
    url, _ = session.create_authorization_url(given["issuer"] + "/oauth/authorize", **asked)
    answer = answered(decide(httpx2, url, given))
    assert base64.urlsafe_b64encode(hashlib.sha256(proof.encode()).digest()).rstrip(b"=").decode() in url
    session.fetch_token(given["issuer"] + "/oauth/token", code=answer["code"], code_verifier=proof)
    return initialized(session, given)


async def authlib_assertion(given):
    endpoint = given["issuer"] + "/oauth/token"
    session = OAuth2Session(given["machine"]["id"], OKPKey.import_key(key(given)), token_endpoint_auth_method="private_key_jwt")
    session.register_client_auth_method(PrivateKeyJWT(endpoint, alg="EdDSA"))
    session.fetch_token(endpoint, grant_type="client_credentials", resource=given["resource"])
    return initialized(session, given)


def initialized(session, given):
    listing = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "doors", "version": "1"}}}
    reply = session.post(given["resource"], json=listing, headers={"accept": "application/json, text/event-stream"})
    assert reply.status_code == 200, reply.text
    return "works"


SDK, FAST, AUTHLIB = ("MCP Python SDK", "mcp"), ("FastMCP", "fastmcp-slim"), ("Authlib", "Authlib")
DOORS = [
    (*SDK, "code, given id", "bearer", lambda given: code(given, client_id=given["editor"])),
    (*SDK, "code, registers itself", "bearer", code),
    (*SDK, "code, metadata document", "bearer", lambda given: code(given, document=given["document"])),
    (*SDK, "`PrivateKeyJWTOAuthProvider`", "bearer", signed_jwt),
    (*SDK, "`ClientCredentialsOAuthProvider`", "secret", secret),
    (*SDK, "stdio, `remit connect`", "bound", bridge),
    (*FAST, "code, given id", "bearer", lambda given: fast(given, client_id=given["editor"], issuer=given["issuer"])),
    (*FAST, "code, registers itself", "bearer", fast),
    (*FAST, "code, metadata document", "bearer", lambda given: fast(given, client_metadata_url=given["document"])),
    (*FAST, "stdio, `remit connect`", "bound", fast_bridge),
    (*FAST, "`JWTVerifier` of a server checks our token", "bound", verifier),
    (*AUTHLIB, "code, given id", "bearer", authlib_code),
    (*AUTHLIB, "`private_key_jwt`", "bearer", authlib_assertion),
]

asyncio.run(report(DOORS, script()))
