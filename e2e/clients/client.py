"""The official Python SDK: plays the same script as the TypeScript clients (see play.mjs), in the era named by argv[2]."""

import asyncio
import base64
import hashlib
import json
import sys
import time
import uuid

import httpx2
import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jwt.algorithms import ECAlgorithm, OKPAlgorithm
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError


class Dpop(httpx2.Auth):
    """Presents a token bound to a key, RFC 9449; one retry when the server wants its nonce."""

    requires_response_body = False

    def __init__(self, token, key_file):
        self.token = token
        with open(key_file, "rb") as file:
            self.private = load_pem_private_key(file.read(), None)
        self.algorithm = "EdDSA" if isinstance(self.private, Ed25519PrivateKey) else "ES256"
        kind = OKPAlgorithm if self.algorithm == "EdDSA" else ECAlgorithm
        public = kind.to_jwk(self.private.public_key(), as_dict=True)
        self.public = {name: public[name] for name in ("crv", "kty", "x", "y") if name in public}
        self.nonce = None

    def proof(self, request):
        claims = {
            "jti": str(uuid.uuid4()),
            "htm": request.method,
            "htu": str(request.url.copy_with(query=None, fragment=None)),
            "iat": int(time.time()),
            "ath": base64.urlsafe_b64encode(hashlib.sha256(self.token.encode()).digest()).rstrip(b"=").decode(),
        }
        if self.nonce:
            claims["nonce"] = self.nonce
        header = {"typ": "dpop+jwt", "jwk": self.public}
        return jwt.encode(claims, self.private, algorithm=self.algorithm, headers=header)

    def auth_flow(self, request):
        for _ in range(2):
            request.headers["Authorization"] = f"DPoP {self.token}"
            request.headers["DPoP"] = self.proof(request)
            response = yield request
            nonce, self.nonce = response.headers.get("DPoP-Nonce"), response.headers.get("DPoP-Nonce") or self.nonce
            if response.status_code != 401 or nonce is None:
                return


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
                outcome = {"isError": bool(result.is_error), "structured": result.structured_content, "text": text}
            except MCPError as error:
                outcome = {"error": {"code": error.error.code, "message": error.error.message, "data": error.error.data}}
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
    auth = Dpop(connect["token"], connect["key_file"]) if connect.get("token") else None
    async with httpx2.AsyncClient(auth=auth, timeout=30) as http:
        print(json.dumps(await play(streamable_http_client(connect["url"], http_client=http), mode, script["calls"])))


asyncio.run(main())
