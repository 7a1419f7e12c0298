"""A person signs in at the browser: authorization code with PKCE and a loopback redirect (RFC 7636, RFC 8252, RFC 9207)."""

from __future__ import annotations

import queue
import secrets
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlencode, urlsplit

from .errors import SignInFailed
from .key import digest

# How long the person may take, in seconds; a request waits no longer at the server either.
PATIENCE = 600
PAGE = b"<!doctype html><title>Remit</title><p>You can close this window."


def sign_in(
    issuer: str, client_id: str, thumbprint: str, resource: str, open_url: Callable[[str], object], asked: Mapping[str, str]
) -> dict[str, str]:
    """Asks the person and returns the form that redeems their answer at the token endpoint."""
    verifier, state = secrets.token_urlsafe(48), secrets.token_urlsafe(24)
    answers: queue.Queue[dict[str, str]] = queue.Queue()
    with ThreadingHTTPServer(("127.0.0.1", 0), listener(state, answers)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        redirect = f"http://127.0.0.1:{server.server_port}/callback"
        request = {"response_type": "code", "client_id": client_id, "redirect_uri": redirect, "resource": resource, **asked}
        request |= {"state": state, "dpop_jkt": thumbprint}
        request |= {"code_challenge": digest(verifier), "code_challenge_method": "S256"}
        try:
            if open_url(f"{issuer}/oauth/authorize?{urlencode(request)}") is False:
                raise SignInFailed("no browser can be opened here; pass `open_url=print` and open the address by hand")
            answer = answers.get(timeout=PATIENCE)
        except queue.Empty:
            raise SignInFailed(f"no person signed in within {PATIENCE} seconds; call `login` again") from None
        finally:
            server.shutdown()
    return {**redeemable(answer, issuer, redirect, verifier), "resource": resource}


def redeemable(answer: Mapping[str, str], issuer: str, redirect: str, verifier: str) -> dict[str, str]:
    if answer.get("iss") != issuer:
        raise SignInFailed(f"the answer comes from {answer.get('iss')!r}, not from {issuer}; do not trust that page")
    if "error" in answer:
        raise SignInFailed(f"{answer.get('error_description', 'no authority was given')} [{answer['error']}]")
    if "code" not in answer:
        raise SignInFailed("the browser's answer has neither a code nor an error; call `login` again")
    code = {"grant_type": "authorization_code", "code": answer["code"]}
    return {**code, "code_verifier": verifier, "redirect_uri": redirect}


def listener(state: str, answers: queue.Queue[dict[str, str]]) -> type[BaseHTTPRequestHandler]:
    class Listener(BaseHTTPRequestHandler):
        """Takes the one request that carries our state; everything else on this port is not for us."""

        def do_GET(self) -> None:
            place = urlsplit(self.path)
            answer = dict(parse_qsl(place.query))
            ours = place.path == "/callback" and secrets.compare_digest(answer.get("state", "").encode(), state.encode())
            self.send_response(200 if ours else 404)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            if ours:
                self.wfile.write(PAGE)
                answers.put(answer)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    return Listener
