"""An authorization server and a resource in one, which does what a test says."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat


class Server:
    """Answers of the token endpoint and of the resource come from `token` and `resource`; both may be replaced."""

    def __init__(self) -> None:
        self.token_requests: list[dict[str, str]] = []
        self.requests: list[Any] = []
        self.token: Any = lambda form: (200, {"access_token": f"token-{len(self.token_requests)}", "expires_in": 300})
        self.resource: Any = lambda headers, body: (200, {}, "fine")
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                if self.path == "/oauth/token":
                    form = dict(parse_qsl(body.decode()))
                    server.token_requests.append(form)
                    status, answer = server.token(form)
                    self.answer(status, {"content-type": "application/json"}, json.dumps(answer))
                else:
                    server.requests.append(dict(self.headers.items()))
                    self.answer(*server.resource(self.headers, body))

            do_GET = do_DELETE = do_POST

            def answer(self, status: int, headers: dict[str, str], body: str) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self.http.server_port}"
        self.url = f"{self.issuer}/mcp/desk"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.http.shutdown()
    made.http.server_close()


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    key = generate_private_key(SECP256R1())
    file = tmp_path / "planner.pem"
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return file
