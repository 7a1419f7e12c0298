"""What can go wrong, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class RemitError(Exception):
    """Every error of this package."""


class KeyUnusable(RemitError):
    """The key file cannot be read, or holds no key that Remit accepts."""


class Unreachable(RemitError):
    """The server did not answer, or something else answered in its place."""


class SignInFailed(RemitError):
    """The person refused or did not sign in, or the browser's answer cannot be trusted."""


class Refused(RemitError):
    """The server refused a token.

    `code` is stable (docs/refusals.md lists all), `reason` says what would be enough, `record` names the ledger record.
    """

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        self.status = status
        self.error = str(body.get("error", "unknown"))
        self.code = str(body.get("remit_code", self.error))
        self.reason = str(body.get("error_description", "the server gives no reason"))
        self.record: str | None = body.get("remit_record")
        record = f", record {self.record}" if self.record else ""
        super().__init__(f"{self.reason} [{self.code}{record}]")
