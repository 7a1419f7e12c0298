"""One agent: its key, its tokens, and whose authority they carry.

A token request blocks; the hooks in `auth.py` run it in a worker thread where they must not block. So one lock makes sure, for
threads and for tasks alike, that a token is renewed once however many requests wait for it.
"""

from __future__ import annotations

import copy
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeAlias

from . import login
from .auth import new_auth
from .errors import Refused, RemitError, Unreachable
from .key import Key
from .which_httpx import TIMEOUT, http, sdk_httpx

Details: TypeAlias = Sequence[Mapping[str, Any]]
# Whose authority an agent's tokens carry.
Source: TypeAlias = "Itself | SignIn | Delegated"

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
# Seconds before its end at which a token is renewed.
RENEW_BEFORE = 10
# Seconds for which a failed renewal is not tried again, so that waiting requests do not fail one after the other.
RETRY_AFTER = 1
# The MCP SDK's own limits, in seconds: a server may hold an event stream open.
CONNECT_TIMEOUT, STREAM_TIMEOUT = 30, 300

log = logging.getLogger("remit_agent")


class Agent:
    """A registered agent that acts with its own authority.

    `login` and `child` make agents that act with authority of others. Every agent is a client of its own: give each its own
    MCP client. `scope` or `authorization_details` ask for less than the agent may do.
    """

    refusal: RemitError | None
    """Why the last renewal failed; None after one that succeeded."""

    def __init__(
        self,
        issuer: str,
        name: str,
        key_file: str | os.PathLike[str],
        *,
        scope: str | None = None,
        authorization_details: Details | None = None,
    ) -> None:
        self.issuer = issuer.rstrip("/")
        self.client_id = f"agent:{name.removeprefix('agent:')}"
        self.key = Key(key_file)
        self._begin(Itself(asked(scope, authorization_details)))

    def login(
        self,
        resource: str,
        open_url: Callable[[str], object],
        scope: str | None = None,
        authorization_details: Details | None = None,
        purpose: str | None = None,
    ) -> Agent:
        """Lets a person sign in and returns this agent acting for them at `resource`.

        `open_url` shows the person an address, as `webbrowser.open` does. Blocks until the person has decided, ten minutes at
        most. Raises `SignInFailed` or `Refused`.
        """
        if scope is None and authorization_details is None:
            scope = f"{resource.rsplit('/', 1)[-1]}:*"
        form = asked(scope, authorization_details, purpose=purpose)
        code = login.sign_in(self.issuer, self.client_id, self.key.thumbprint, resource, open_url, form)
        answer = self.request_token(code)
        person = self._with(SignIn(resource, answer["refresh_token"]))
        person._held[resource] = Held.of(answer)
        return person

    def child(
        self,
        agent: Agent,
        *,
        scope: str | None = None,
        authorization_details: Details | None = None,
        requested_lifetime: int | None = None,
        purpose: str | None = None,
    ) -> Agent:
        """Returns `agent` acting with a part of this agent's authority.

        This agent's grant must name the other in `delegate.to`. The exchange happens when a token is first needed, and again
        whenever that has ended. `requested_lifetime` is in seconds.
        """
        form = asked(scope, authorization_details, purpose=purpose, requested_lifetime=requested_lifetime)
        return agent._with(Delegated(self, form))

    def auth(self, httpx_module: ModuleType | None = None) -> Any:
        """An `Auth` for clients of `httpx` (MCP SDK 1.x) or `httpx2` (MCP SDK 2.x), without an argument of the installed SDK."""
        return new_auth(httpx_module or sdk_httpx(), lambda: self)

    def create_auth(self, server_url: str) -> Any:
        """The same as `auth()`, for frameworks that ask for each server's (Haystack's `oauth_config`)."""
        return self.auth()

    def client_factory(self, headers: dict[str, str] | None = None, timeout: Any = None, auth: Any = None) -> Any:
        """An `AsyncClient` with these credentials, for frameworks that take a factory of clients (LangChain, ADK)."""
        module = sdk_httpx()
        timeout = timeout or module.Timeout(CONNECT_TIMEOUT, read=STREAM_TIMEOUT)
        # A redirect would carry the proof of one address to another.
        return module.AsyncClient(headers=headers, timeout=timeout, auth=self.auth(module), follow_redirects=False)

    def token(self, resource: str, ended: str | None = None, lasting: float = RENEW_BEFORE) -> str:
        """An access token for `resource` that holds for `lasting` seconds and is not the one that the server refused (`ended`).

        Blocks. Raises `Refused` or `Unreachable`.
        """
        with self._renewing:
            held = self._held.get(resource)
            if held and held.access_token != ended and time.time() < held.ends - lasting:
                return held.access_token
            error, until = self._failed.get(resource, (None, 0.0))
            if error and time.monotonic() < until:
                raise error
            try:
                held = self._source.renew(self, resource, held if held and held.access_token == ended else None)
            except RemitError as error:
                self._failed[resource] = error, time.monotonic() + RETRY_AFTER
                raise
            self._held[resource] = held
            return held.access_token

    def current(self, resource: str) -> str | None:
        """The token held for `resource` if it need not be renewed. Does not block."""
        held = self._held.get(resource)
        return held.access_token if held and time.time() < held.ends - RENEW_BEFORE else None

    def token_or_last(self, resource: str, ended: str | None = None) -> str | None:
        """Like `token`, but never raises: the last token when there is no new one, because the server's 401 says why.

        The error is logged and kept in `refusal`.
        """
        try:
            token = self.token(resource, ended)
            self.refusal = None
            return token
        except RemitError as error:
            self.refusal = error
            log.warning("no token for %s at %s: %s", self.client_id, resource, error)
            held = self._held.get(resource)
            return held.access_token if held else None

    def request_token(self, form: Mapping[str, str]) -> dict[str, Any]:
        """Sends one token request with this agent's assertion and proof. Blocks. Raises `Refused` or `Unreachable`."""
        url = f"{self.issuer}/oauth/token"
        status, body = 0, {}
        with http.Client(timeout=TIMEOUT, follow_redirects=False) as client:
            for _ in range(3):
                assertion = self.key.assertion(self.client_id, self.issuer)
                who = {"client_id": self.client_id, "client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}
                try:
                    response = client.post(url, data={**form, **who}, headers={"DPoP": self.proof("POST", url)})
                    status, body = response.status_code, response.json()
                except (http.HTTPError, http.InvalidURL, ValueError) as error:
                    raise Unreachable(f"no answer from {url}: {error}; check the issuer, and that the server runs") from error
                self.remember_nonce(url, response)
                if status == 200:
                    return dict(body)
                if body.get("error") != "use_dpop_nonce":
                    break
        raise Refused(status, body)

    def proof(self, method: str, url: str, token: str | None = None) -> str:
        return self.key.proof(method, url, token, self._nonces.get(url))

    def remember_nonce(self, url: str, response: Any) -> bool:
        """Whether the server gave a nonce for the next proof."""
        nonce = response.headers.get("dpop-nonce")
        if nonce:
            self._nonces[url] = nonce
        return bool(nonce)

    def _with(self, source: Source) -> Agent:
        """The same client with authority from elsewhere."""
        made = copy.copy(self)
        made._begin(source)
        return made

    def _begin(self, source: Source) -> None:
        self._source = source
        self.refusal = None
        self._renewing = threading.Lock()
        self._held: dict[str, Held] = {}
        self._failed: dict[str, tuple[RemitError, float]] = {}
        self._nonces: dict[str, str] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> Agent:
        # Frameworks copy their settings; a copy that renews by itself would race this one.
        return self


@dataclass(frozen=True)
class Held:
    """A token in memory, and the delegator's token that it was taken from."""

    access_token: str
    ends: float
    parent: str | None = None

    @classmethod
    def of(cls, answer: Mapping[str, Any], parent: str | None = None) -> Held:
        return cls(answer["access_token"], time.time() + answer.get("expires_in", 0), parent)


@dataclass
class Itself:
    """The agent's own authority (RFC 6749 section 4.4)."""

    form: dict[str, str]

    def renew(self, agent: Agent, resource: str, ended: Held | None) -> Held:
        return Held.of(agent.request_token({"grant_type": "client_credentials", "resource": resource, **self.form}))


@dataclass
class SignIn:
    """A person's, who signed in. Every use of a refresh token gives the next one."""

    resource: str
    refresh_token: str

    def renew(self, agent: Agent, resource: str, ended: Held | None) -> Held:
        if resource != self.resource:
            raise RemitError(f"the person signed in for {self.resource}; `login` for {resource} is another sign-in")
        form = {"grant_type": "refresh_token", "refresh_token": self.refresh_token, "resource": resource}
        answer = agent.request_token(form)
        self.refresh_token = answer.get("refresh_token", self.refresh_token)
        return Held.of(answer)


@dataclass
class Delegated:
    """A part of another agent's (RFC 8693): the parent asks, and the child shows itself with a token for the issuer."""

    parent: Agent
    form: dict[str, str]

    def renew(self, agent: Agent, resource: str, ended: Held | None) -> Held:
        # A token that was taken from a revoked one is revoked with it, so the parent needs a new one as well.
        lasting = max(RENEW_BEFORE, float(self.form.get("requested_lifetime", 0)))
        subject = self.parent.token(resource, ended.parent if ended else None, lasting)
        child = agent.request_token({"grant_type": "client_credentials", "resource": agent.issuer})
        form = {"grant_type": EXCHANGE, "resource": resource, **self.form}
        form |= {"subject_token": subject, "subject_token_type": ACCESS_TOKEN}
        form |= {"actor_token": child["access_token"], "actor_token_type": ACCESS_TOKEN}
        return Held.of(self.parent.request_token(form), subject)


def asked(scope: str | None, details: Details | None, **more: object) -> dict[str, str]:
    """The form parameters that say what is asked for."""
    form = {"scope": scope, "authorization_details": details and json.dumps(details), **more}
    return {name: str(value) for name, value in form.items() if value is not None}
