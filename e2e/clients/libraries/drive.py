"""Does with the Python library what a test says, a line of JSON at a time; `drive.mjs` does the same with the other one.

argv[1] is `httpx` or `httpx2`. Each line is {op, …} and gets one line back: {"done": …} or {"refused": {kind, code, text}}.
`as` and `agent` name agents of this process.
"""

import asyncio
import importlib
import json
import os
import subprocess
import sys
import tempfile

from remit_agent import Agent, RemitError, RemitTransport

httpx = importlib.import_module(sys.argv[1])
agents, clients = {}, {}


def agent(to):
    agents[to["as"]] = Agent(to["issuer"], to["name"], to["key_file"])


def login(to):
    person = {name: to[name] for name in ("user", "password", "decision") if name in to}
    asked = {name: to.get(name) for name in ("scope", "authorization_details", "purpose")}
    agents[to["as"]] = agents[to["agent"]].login(to["resource"], lambda url: browse({"url": url, **person}), **asked)


def browse(person):
    """A person at headless Chromium."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as script:
        json.dump(person, script)
        script.flush()
        program = os.path.join(os.path.dirname(__file__), "..", "consent.mjs")
        subprocess.run(["node", program, script.name], check=True, stdout=subprocess.DEVNULL)


def child(to):
    asked = {name: to.get(name) for name in ("scope", "authorization_details", "requested_lifetime", "purpose")}
    agents[to["as"]] = agents[to["parent"]].child(agents[to["agent"]], **asked)


def token(to):
    return agents[to["agent"]].token(to["resource"])


def revoke(to):
    holder = agents[to["agent"]]
    assertion = holder.key.assertion(holder.client_id, holder.issuer)
    form = {"client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", "client_assertion": assertion}
    answer = httpx.post(f"{holder.issuer}/oauth/revoke", data={"token": to["token"], **form})
    assert answer.status_code == 200, answer.text


async def post(to):
    """Sends one message, or the same many times in parallel; with `session`, in an MCP session opened before."""
    client = client_of(to["agent"], to.get("through", "auth"))
    headers = {"accept": "application/json, text/event-stream", **to["headers"]}
    answers = await asyncio.gather(
        *(client.post(to["url"], json=to["body"], headers=headers) for _ in range(to.get("times", 1)))
    )
    return [
        {"status": answer.status_code, "session": answer.headers.get("mcp-session-id"), "body": body_of(answer)}
        for answer in answers
    ]


def client_of(name, through):
    if (name, through) not in clients:
        how = {"auth": agents[name].auth(httpx)}
        if through == "transport":
            how = {"transport": RemitTransport(httpx.AsyncHTTPTransport(), agents[name])}
        # On a busy machine, the server's patience with a new connection ends before this process speaks on all of 100.
        clients[name, through] = httpx.AsyncClient(timeout=120, limits=httpx.Limits(max_connections=40), **how)
    return clients[name, through]


def body_of(answer):
    """JSON, also where it comes as an event."""
    text = answer.text
    lines = [line.removeprefix("data:") for line in text.splitlines() if line.startswith("data:")]
    try:
        return json.loads(lines[-1] if lines else text)
    except ValueError:
        return text


async def main():
    for line in iter(sys.stdin.readline, ""):
        to = json.loads(line)
        do = {"agent": agent, "login": login, "child": child, "token": token, "revoke": revoke, "post": post}[to["op"]]
        try:
            done = await do(to) if do is post else do(to)
            print(json.dumps({"done": done}), flush=True)
        except RemitError as error:
            refused = {"kind": type(error).__name__, "code": getattr(error, "code", None), "text": str(error)}
            print(json.dumps({"refused": refused}), flush=True)


asyncio.run(main())
