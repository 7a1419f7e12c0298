"""An agent's credentials as an authentication hook for `httpx` and `httpx2` (RFC 7523, RFC 9449).

    agent = Agent("https://remit.example", "planner", "planner.pem")
    client = httpx2.AsyncClient(auth=agent.auth(httpx2))

The hook gets a token for the resource that a request goes to, signs a fresh DPoP proof for every request, answers a nonce
challenge, renews a token once however many requests wait for it, and opens an MCP session again when the server no longer
knows it. It does not sign people in and keeps nothing on disk. It never raises on a refusal: without a token the request
goes out bare, and the server's 401 explains why.
"""

import asyncio
import base64
import hashlib
import json
import time
import uuid

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jwt.algorithms import ECAlgorithm, OKPAlgorithm

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
# Seconds before its end at which a token is renewed.
RENEW_BEFORE = 5
# A request may be repeated for a nonce, for a new token, for a new session, and for a nonce once more.
MOST_ATTEMPTS = 5


class Agent:
    """One registered agent: its name, its private key, and the tokens it holds in memory."""

    def __init__(self, issuer, name, key_file, *, scope=None):
        self.issuer = issuer.rstrip("/")
        self.client_id = f"agent:{name.removeprefix('agent:')}"
        self.scope = scope
        self._key = Key(key_file)
        self._nonces = {}
        self._held = {}
        self._renewing = {}

    def auth(self, httpx):
        """An `Auth` for clients of the given module: `httpx` for MCP SDK 1.x, `httpx2` for MCP SDK 2.x."""
        agent = self

        class RemitAuth(httpx.Auth):
            # An event stream has no end to wait for.
            requires_response_body = False

            def __init__(self):
                self.sessions = {}

            def __deepcopy__(self, memo):
                # Frameworks copy their settings; a copy that renews by itself would race this one.
                return self

            async def async_auth_flow(self, request):
                # A request that is sent again needs its whole body.
                await request.aread()
                url, ended = address(request.url), None
                session = self.sessions.get(request.headers.get("mcp-session-id"))
                for _ in range(MOST_ATTEMPTS):
                    token = await agent._token(httpx, url, ended)
                    if token:
                        request.headers["Authorization"] = f"DPoP {token}"
                        request.headers["DPoP"] = agent._proof(request.method, url, token)
                    if session:
                        request.headers["mcp-session-id"] = session.id
                    response = yield request
                    nonce = agent._remember_nonce(url, response)
                    if nonce and wants_nonce(response):
                        continue
                    if response.status_code == 401 and token and token != ended:
                        ended = token
                    elif response.status_code != 404 or not session or not await session.reopen(httpx, self, request):
                        break
                opened = response.headers.get("mcp-session-id")
                if opened and opened not in self.sessions and b'"initialize"' in request.content:
                    self.sessions[opened] = Session(opened, request)

        return RemitAuth()

    def client_factory(self, httpx):
        """A factory of clients with these credentials, for frameworks that take no `auth`."""

        def make(headers=None, timeout=None, auth=None):
            return httpx.AsyncClient(headers=headers, timeout=timeout, auth=self.auth(httpx), follow_redirects=True)

        return make

    async def _token(self, httpx, resource, ended):
        """The token for a resource, renewed when it has ended or the server has refused it (`ended`); None if refused."""
        async with self._renewing.setdefault(resource, asyncio.Lock()):
            held = self._held.get(resource)
            if held is None or held["access_token"] == ended or held["ends"] - RENEW_BEFORE <= time.time():
                held = await self._renew(httpx, resource) or held
                self._held[resource] = held
            return held and held["access_token"]

    async def _renew(self, httpx, resource):
        url = f"{self.issuer}/oauth/token"
        form = {"grant_type": "client_credentials", "resource": resource, "client_id": self.client_id}
        if self.scope:
            form["scope"] = self.scope
        async with httpx.AsyncClient(timeout=30) as client:
            for _ in range(2):
                who = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": self._assertion()}
                try:
                    answer = await client.post(url, data={**form, **who}, headers={"DPoP": self._proof("POST", url, None)})
                    body = answer.json()
                except (httpx.HTTPError, ValueError):
                    return None
                nonce = self._remember_nonce(url, answer)
                if answer.status_code == 200:
                    return {"access_token": body["access_token"], "ends": time.time() + body.get("expires_in", 0)}
                if body.get("error") != "use_dpop_nonce" or not nonce:
                    return None

    def _assertion(self):
        now = int(time.time())
        claims = {"iss": self.client_id, "sub": self.client_id, "aud": self.issuer, "iat": now, "exp": now + 60}
        return self._key.sign(claims, {"typ": "JWT"})

    def _proof(self, method, url, token):
        claims = {"htm": method, "htu": url, "iat": int(time.time())}
        if token:
            claims["ath"] = base64url(hashlib.sha256(token.encode()).digest())
        if url in self._nonces:
            claims["nonce"] = self._nonces[url]
        return self._key.sign(claims, {"typ": "dpop+jwt", "jwk": self._key.public})

    def _remember_nonce(self, url, response):
        nonce = response.headers.get("dpop-nonce")
        if nonce:
            self._nonces[url] = nonce
        return nonce


class Key:
    """A private key from a PEM file, P-256 or Ed25519."""

    def __init__(self, file):
        with open(file, "rb") as pem:
            self._private = load_pem_private_key(pem.read(), None)
        self._algorithm = "EdDSA" if isinstance(self._private, Ed25519PrivateKey) else "ES256"
        kind = OKPAlgorithm if self._algorithm == "EdDSA" else ECAlgorithm
        public = kind.to_jwk(self._private.public_key(), as_dict=True)
        self.public = {name: public[name] for name in ("crv", "kty", "x", "y") if name in public}

    def sign(self, claims, header):
        return jwt.encode({"jti": str(uuid.uuid4()), **claims}, self._private, algorithm=self._algorithm, headers=header)


class Session:
    """An MCP session (2025-11-25 and older) that can be opened again when the server restarts or forgets it."""

    def __init__(self, session, opening):
        self.id = session
        self._url, self._body = opening.url, opening.content
        self._headers = {name: opening.headers[name] for name in ("accept", "content-type") if name in opening.headers}
        self._opening = asyncio.Lock()

    async def reopen(self, httpx, auth, request):
        """Replays `initialize` after the server refused `request`; whether there is a new session."""
        async with self._opening:
            if self.id != request.headers["mcp-session-id"]:
                return True
            async with httpx.AsyncClient(auth=auth, timeout=30) as client:
                answer = await client.post(self._url, content=self._body, headers=self._headers)
                session = answer.headers.get("mcp-session-id")
                if not answer.is_success or not session:
                    return False
                # The client knows the old id and keeps using it.
                auth.sessions.pop(session, None)
                headers = {**self._headers, "mcp-session-id": session}
                if "mcp-protocol-version" in request.headers:
                    headers["mcp-protocol-version"] = request.headers["mcp-protocol-version"]
                greeting = json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"})
                await client.post(self._url, content=greeting, headers=headers)
                self.id = session
                return True


def address(url):
    """What a proof names and a token is for: the URL without query and fragment."""
    return str(url.copy_with(query=None, fragment=None))


def wants_nonce(response):
    """Whether a resource refused a proof because it has not the nonce that the answer carries."""
    return response.status_code == 401 and "use_dpop_nonce" in response.headers.get("www-authenticate", "")


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
