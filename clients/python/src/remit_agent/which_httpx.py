"""Which HTTP package to use: `httpx`, or `httpx2`, which the MCP SDK uses from 2.0 on."""

from importlib import import_module, metadata
from types import ModuleType

try:
    import httpx as http
except ImportError:
    import httpx2 as http  # type: ignore[no-redef]

__all__ = ["TIMEOUT", "http", "sdk_httpx"]

# Longest wait for an answer to this package's own requests, in seconds.
TIMEOUT = 30


def sdk_httpx() -> ModuleType:
    """The package of the installed MCP SDK; without an SDK, the one that is there."""
    try:
        modern = int(metadata.version("mcp").split(".")[0]) >= 2
    except metadata.PackageNotFoundError:
        return http
    return import_module("httpx2" if modern else "httpx")
