import asyncio
import contextvars
import copy
import logging
import threading
import time

import pytest

from remit_agent import Agent, Refused, RemitTransport, Unreachable, acting, auth_by_context
from remit_agent import agent as module
from remit_agent import auth as auth_module
from remit_agent.which_httpx import http as httpx

QUARANTINED = {
    "error": "unauthorized_client",
    "error_description": "quarantined",
    "remit_code": "agent_quarantined",
    "remit_record": "r1",
}


@pytest.fixture
def agent(server, key_file):
    return Agent(server.issuer, "planner", key_file)


def bearer(request):
    return {name.lower(): value for name, value in request.items()}.get("authorization")


def test_threads_and_tasks_share_one_token(server, agent):
    slow, answer = threading.Event(), server.token
    server.token = lambda form: slow.wait(0.2) and None or answer(form)

    def in_thread():
        with httpx.Client(auth=agent.auth(httpx)) as client:
            assert client.post(server.url).status_code == 200

    async def in_tasks():
        async with httpx.AsyncClient(auth=agent.auth(httpx), timeout=60) as client:
            await asyncio.gather(*(client.post(server.url) for _ in range(50)))

    threads = [threading.Thread(target=in_thread) for _ in range(10)]
    for thread in threads:
        thread.start()
    asyncio.run(in_tasks())
    for thread in threads:
        thread.join()
    assert len(server.token_requests) == 1
    assert {bearer(request) for request in server.requests} == {"DPoP token-1"}
    proofs = [request["DPoP"] for request in server.requests]
    assert len(set(proofs)) == len(proofs) == 60


def test_a_token_is_renewed_before_it_ends(server, agent, monkeypatch):
    with httpx.Client(auth=agent.auth(httpx)) as client:
        client.post(server.url)
        later = time.time() + 291
        monkeypatch.setattr(module.time, "time", lambda: later)
        client.post(server.url)
    assert [bearer(request) for request in server.requests] == ["DPoP token-1", "DPoP token-2"]


def test_a_refused_renewal_sends_the_old_token_and_is_not_repeated_at_once(server, agent, caplog):
    with httpx.Client(auth=agent.auth(httpx)) as client:
        client.post(server.url)
        server.token = lambda form: (400, QUARANTINED)
        server.resource = lambda headers, body: (401, {}, "agent_quarantined")
        with caplog.at_level(logging.WARNING, "remit_agent"):
            for _ in range(5):
                answer = client.post(server.url)
    assert (answer.status_code, answer.text) == (401, "agent_quarantined")
    assert {bearer(request) for request in server.requests} == {"DPoP token-1"}
    assert len(server.token_requests) == 2
    assert isinstance(agent.refusal, Refused)
    assert (agent.refusal.code, agent.refusal.record, agent.refusal.status) == ("agent_quarantined", "r1", 400)
    assert "quarantined [agent_quarantined, record r1]" in caplog.text


def test_without_a_token_the_request_goes_out_bare(server, agent):
    server.token = lambda form: (400, QUARANTINED)
    with httpx.Client(auth=agent.auth(httpx)) as client:
        assert client.post(server.url).status_code == 200
    assert bearer(server.requests[0]) is None and "DPoP" not in server.requests[0]
    with pytest.raises(Refused, match="quarantined"):
        agent.token(server.url)


def test_a_401_is_answered_with_one_new_token(server, agent):
    server.resource = lambda headers, body: (200 if headers["Authorization"] == "DPoP token-2" else 401, {}, "")
    with httpx.Client(auth=agent.auth(httpx)) as client:
        assert client.post(server.url, content=b"whole body").status_code == 200
        assert len(server.token_requests) == 2
        server.resource = lambda headers, body: (401, {}, "never")
        assert client.post(server.url).text == "never"
    assert len(server.token_requests) == 3, "one new token for each request, even if that is refused too"


def test_nonces_are_kept_for_each_url(server, agent):
    challenge = {"www-authenticate": 'DPoP error="use_dpop_nonce"', "dpop-nonce": "n1"}
    seen = []

    def resource(headers, body):
        seen.append(body)
        return (401, challenge, "") if len(seen) == 1 else (200, {}, "")

    server.resource = resource
    with httpx.Client(auth=agent.auth(httpx)) as client:
        assert client.post(server.url, content=b"again").status_code == 200
    assert seen == [b"again", b"again"]
    assert agent._nonces == {server.url: "n1"}
    assert len(server.token_requests) == 1, "a nonce is no reason for a new token"


def test_an_endless_wish_for_nonces_ends(server, agent):
    server.token = lambda form: (400, {"error": "use_dpop_nonce"})
    with pytest.raises(Refused, match="use_dpop_nonce"):
        agent.token(server.url)
    assert len(server.token_requests) == 3


@pytest.mark.parametrize("answer", [(200, {}, "not json"), (302, {"location": "http://127.0.0.1:1/"}, "")])
def test_an_answer_that_is_none_of_remits_is_unreachable(server, agent, answer, monkeypatch):
    monkeypatch.setattr(module.Agent, "issuer", f"{server.issuer}/elsewhere", raising=False)
    object.__setattr__(agent, "issuer", f"{server.issuer}/elsewhere")
    server.resource = lambda headers, body: answer
    with pytest.raises(Unreachable, match="check the issuer"):
        agent.token(server.url)
    assert len(server.requests) == 1, "a redirect is not followed"


def test_nothing_is_raised_when_the_issuer_is_gone(server, key_file):
    agent = Agent("http://127.0.0.1:1", "planner", key_file)
    with httpx.Client(auth=agent.auth(httpx)) as client:
        assert client.post(server.url).status_code == 200
    assert isinstance(agent.refusal, Unreachable)


def test_each_request_is_of_the_agent_that_acts(server, key_file):
    async def act(agent, client):
        acting.set(agent)
        await client.post(server.url, headers={"who": agent.client_id if agent else "none"})

    async def all_act():
        async with httpx.AsyncClient(auth=auth_by_context(httpx)) as client:
            agents = [Agent(server.issuer, name, key_file) for name in ("one", "two")]
            await asyncio.gather(*(act(agent, client) for agent in [*agents, None]))

    server.token = lambda form: (200, {"access_token": form["client_id"], "expires_in": 300})
    asyncio.run(all_act())
    sent = {request["who"]: bearer(request) for request in server.requests}
    assert sent == {"agent:one": "DPoP agent:one", "agent:two": "DPoP agent:two", "none": None}


def test_a_transport_authenticates_too(server, agent):
    with httpx.Client(transport=RemitTransport(httpx.HTTPTransport(), agent)) as client:
        client.post(server.url)

    def act():
        acting.set(agent)
        with httpx.Client(transport=RemitTransport(httpx.HTTPTransport())) as client:
            client.post(server.url)

    contextvars.copy_context().run(act)
    assert [bearer(request) for request in server.requests] == ["DPoP token-1", "DPoP token-1"]


def test_frameworks_get_what_they_take(server, agent):
    auth = agent.auth(httpx)
    assert copy.deepcopy({"auth": auth})["auth"] is auth and copy.deepcopy(agent) is agent
    assert auth.requires_response_body is False
    assert isinstance(agent.create_auth(server.url), type(agent.auth()).__mro__[2])
    client = agent.client_factory(headers={"x": "1"})
    assert client.follow_redirects is False and client.headers["x"] == "1" and client.timeout.read == 300


def test_a_session_is_opened_again_once(server, agent):
    opened, alive = [], set()

    def resource(headers, body):
        if b'"initialize"' in body:
            opened.append(f"s{len(opened) + 1}")
            alive.add(opened[-1])
            return 200, {"mcp-session-id": opened[-1]}, ""
        return (200 if headers["mcp-session-id"] in alive else 404), {}, headers["mcp-session-id"]

    server.resource = resource

    async def play():
        async with httpx.AsyncClient(auth=agent.auth(httpx), timeout=60) as client:
            await client.post(server.url, content=b'{"method": "initialize"}')
            alive.clear()
            headers = {"mcp-session-id": "s1"}
            answers = await asyncio.gather(*(client.post(server.url, headers=headers) for _ in range(20)))
            assert {(answer.status_code, answer.text) for answer in answers} == {(200, "s2")}
            other = await client.post(server.url, headers={"mcp-session-id": "unknown"})
            assert other.status_code == 404, "only sessions that this client opened are opened again"

    asyncio.run(play())
    assert opened == ["s1", "s2"]


def test_sessions_do_not_pile_up(server, agent, monkeypatch):
    monkeypatch.setattr(auth_module, "MOST_SESSIONS", 10)
    server.resource = lambda headers, body: (200, {"mcp-session-id": headers["n"]}, "")
    auth = agent.auth(httpx)
    with httpx.Client(auth=auth) as client:
        for n in range(15):
            client.post(server.url, content=b'{"method": "initialize"}', headers={"n": str(n)})
        assert len(auth._sessions) == 10
        client.delete(server.url, headers={"mcp-session-id": "9", "n": "x"})
    assert list(auth._sessions) == ["5", "6", "7", "8", "10", "11", "12", "13", "14"]


def test_an_exchange_shows_both_agents(server, key_file, tmp_path):
    parent, child = (Agent(server.issuer, name, key_file) for name in ("planner", "summarizer"))
    parent.child(child, scope="desk:read", requested_lifetime=60, purpose="report").token(server.url)
    own, shown, exchange = server.token_requests
    assert [form["client_id"] for form in (own, shown, exchange)] == ["agent:planner", "agent:summarizer", "agent:planner"]
    assert shown["resource"] == server.issuer, "the child shows who it is, and no authority"
    assert (exchange["subject_token"], exchange["actor_token"]) == ("token-1", "token-2")
    assert (exchange["scope"], exchange["requested_lifetime"], exchange["purpose"]) == ("desk:read", "60", "report")


def test_a_childs_lifetime_fits_into_the_parents_token(server, key_file, monkeypatch):
    parent, child = (Agent(server.issuer, name, key_file) for name in ("planner", "summarizer"))
    parent.token(server.url)
    later = time.time() + 200
    monkeypatch.setattr(module.time, "time", lambda: later)
    parent.child(child, requested_lifetime=120).token(server.url)
    assert [form["client_id"] for form in server.token_requests].count("agent:planner") == 3, (
        "the parent renewed its own token first"
    )
