"""An AI agent's credentials for Remit.

    agent = Agent("https://remit.example", "planner", "planner.pem")
    client = httpx.AsyncClient(auth=agent.auth(httpx))

The agent gets its own tokens, renews them, and signs a proof for every request (RFC 7523, RFC 9449). `Agent.login` lets a
person sign in, for whom the agent then acts; `Agent.child` delegates a part of its authority to a sub-agent (RFC 8693).
Nothing is kept on disk.
"""

from .agent import Agent
from .auth import RemitTransport, acting, auth_by_context
from .errors import KeyUnusable, Refused, RemitError, SignInFailed, Unreachable

__all__ = [
    "Agent",
    "KeyUnusable",
    "Refused",
    "RemitError",
    "RemitTransport",
    "SignInFailed",
    "Unreachable",
    "acting",
    "auth_by_context",
]
