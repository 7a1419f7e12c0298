"""One request with an agent's credentials, whichever way the client takes them: as an `Auth` or as a transport.

Every request carries a token and a fresh proof. It is repeated when the server wants its nonce in the proof, with a new token
after a 401, and in a new MCP session after a 404 (2025-11-25 and older) when the server has restarted or forgotten the session.
Nothing here raises on a refusal: the server's 401 explains it.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextvars import ContextVar
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

from anyio import to_thread

from .which_httpx import TIMEOUT, http

if TYPE_CHECKING:
    from typing_extensions import Self

    from .agent import Agent

# A request may be repeated for a nonce, for a new token, for a new session, and for a nonce once more.
MOST_ATTEMPTS = 5
# Sessions that are remembered for each `Auth`; the oldest goes first.
MOST_SESSIONS = 1000
INITIALIZED = b'{"jsonrpc": "2.0", "method": "notifications/initialized"}'

acting: ContextVar[Agent | None] = ContextVar("remit_agent.acting", default=None)
"""The agent for which this task or thread acts, for clients that several agents share (`auth_by_context`)."""


def auth_by_context(httpx_module: ModuleType) -> Any:
    """An `Auth` with the credentials of whichever agent is `acting` when a request is sent.

    For plain requests and stateless MCP (2026-07-28). A session belongs to one agent and needs a client of its own.
    """
    return new_auth(httpx_module, acting.get)


def new_auth(httpx_module: ModuleType, who: Callable[[], Agent | None]) -> Any:
    # `httpx` and `httpx2` each accept only their own class of `Auth`.
    kind = type("RemitAuth", (RequestFlow, httpx_module.Auth), {})
    return kind(who)


class RemitTransport:
    """A transport of `httpx` or `httpx2` around `inner`, for clients that take a transport but no `auth`."""

    def __init__(self, inner: Any, agent: Agent | None = None) -> None:
        """Requests are those of `agent`, or without one of whichever agent is `acting`."""
        self._inner = inner
        self._flow = RequestFlow((lambda: agent) if agent else acting.get)

    def handle_request(self, request: Any) -> Any:
        flow = self._flow.sync_auth_flow(request)
        request = next(flow)
        while True:
            response = self._inner.handle_request(request)
            try:
                request = flow.send(response)
            except StopIteration:
                return response
            response.read()

    async def handle_async_request(self, request: Any) -> Any:
        flow = self._flow.async_auth_flow(request)
        request = await flow.__anext__()
        while True:
            response = await self._inner.handle_async_request(request)
            try:
                request = await flow.asend(response)
            except StopAsyncIteration:
                return response
            await response.aread()

    def close(self) -> None:
        self._inner.close()

    async def aclose(self) -> None:
        await self._inner.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()


class RequestFlow:
    """The steps of one request: requests to send, and blocking work, which async clients run in a worker thread."""

    # An event stream has no end to wait for; a request that is sent again needs its whole body, which the flows read.
    requires_response_body = False

    def __init__(self, who: Callable[[], Agent | None]) -> None:
        self._who = who
        self._sessions: dict[str, Session] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> RequestFlow:
        # Frameworks copy their settings; a copy would not know the sessions of this one.
        return self

    def sync_auth_flow(self, request: Any) -> Generator[Any, Any, None]:
        request.read()
        steps, answer = self._steps(request), None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration:
                return
            answer = step() if callable(step) else (yield step)

    async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
        await request.aread()
        steps, answer = self._steps(request), None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration:
                return
            # A renewal that has begun is not abandoned: a refresh token must not be used and its successor lost.
            answer = await to_thread.run_sync(step) if callable(step) else (yield step)

    def _steps(self, request: Any) -> Generator[Any, Any, None]:
        agent, url = self._who(), address(request.url)
        if agent is None:
            yield request
            return
        session = self._sessions.get(request.headers.get("mcp-session-id", ""))
        token = agent.current(url) or (yield partial(agent.token_or_last, url))
        renewed = False
        for _ in range(MOST_ATTEMPTS):
            if token:
                request.headers.update(credentials(agent, request.method, url, token))
            if session:
                request.headers["mcp-session-id"] = session.id
            response = yield request
            if agent.remember_nonce(url, response) and wants_nonce(response):
                continue
            if response.status_code == 401 and token and not renewed:
                refused, token, renewed = token, (yield partial(agent.token_or_last, url, token)), True
                if token == refused:
                    break
            elif response.status_code == 404 and session:
                sent, version = request.headers["mcp-session-id"], request.headers.get("mcp-protocol-version")
                if not (yield partial(session.reopen, agent, url, sent, version)):
                    break
            else:
                break
        self._remember(request, response)

    def _remember(self, request: Any, response: Any) -> None:
        opened = response.headers.get("mcp-session-id")
        if request.method == "DELETE":
            self._sessions.pop(request.headers.get("mcp-session-id", ""), None)
        elif opened and opened not in self._sessions and b'"initialize"' in request.content:
            self._sessions[opened] = Session(opened, request)
            if len(self._sessions) > MOST_SESSIONS:
                del self._sessions[next(iter(self._sessions))]


class Session:
    """An MCP session that is opened again with the client's own `initialize`."""

    def __init__(self, session: str, opening: Any) -> None:
        self.id = session
        self._body: bytes = opening.content
        self._headers = {name: opening.headers[name] for name in ("accept", "content-type") if name in opening.headers}
        self._reopening = threading.Lock()

    def reopen(self, agent: Agent, url: str, refused: str, version: str | None) -> bool:
        """Whether there is a session other than the `refused` one. Blocks."""
        with self._reopening:
            if self.id != refused:
                return True
            opened = self._post(agent, url, self._headers, self._body)
            session = opened.headers.get("mcp-session-id") if opened else None
            if not session:
                return False
            # The client knows the old id and keeps using it.
            headers = {**self._headers, "mcp-session-id": session}
            if version:
                headers["mcp-protocol-version"] = version
            self._post(agent, url, headers, INITIALIZED)
            self.id = session
            return True

    def _post(self, agent: Agent, url: str, headers: dict[str, str], body: bytes) -> Any:
        """The answer, or None if it is a refusal."""
        with http.Client(timeout=TIMEOUT, follow_redirects=False) as client:
            for _ in range(2):
                token = agent.token_or_last(url)
                if not token:
                    return None
                try:
                    answer = client.post(url, content=body, headers={**headers, **credentials(agent, "POST", url, token)})
                except http.HTTPError:
                    return None
                if not (agent.remember_nonce(url, answer) and wants_nonce(answer)):
                    return answer if answer.is_success else None
        return None


def credentials(agent: Agent, method: str, url: str, token: str) -> dict[str, str]:
    return {"Authorization": f"DPoP {token}", "DPoP": agent.proof(method, url, token)}


def address(url: Any) -> str:
    """What a proof names and a token is for: the URL without query and fragment."""
    return str(url.copy_with(query=None, fragment=None))


def wants_nonce(response: Any) -> bool:
    """Whether a resource refused a proof because it lacks the nonce that the answer carries."""
    return response.status_code == 401 and "use_dpop_nonce" in response.headers.get("www-authenticate", "")
