import threading
import time
import urllib.error
import urllib.request
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from remit_agent import Agent, Refused, RemitError, SignInFailed, login


@pytest.fixture
def agent(server, key_file):
    server.token = lambda form: (200, {"access_token": "a", "refresh_token": "r1", "expires_in": 300})
    return Agent(server.issuer, "planner", key_file)


def browser(answer, before=()):
    """A person whose browser comes back with `answer`, after other requests to the port."""

    def open_url(url):
        asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        for path in before:
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(asked["redirect_uri"].replace("/callback", path))
        given = {"state": asked["state"], **answer}
        with urllib.request.urlopen(f"{asked['redirect_uri']}?{urlencode(given)}") as page:
            assert b"close this window" in page.read()
        open_url.asked = asked

    return open_url


def test_a_sign_in_is_bound_and_checked(server, agent):
    person = browser({"iss": server.issuer, "code": "c"}, before=["/callback?state=forged&code=x", "/favicon.ico"])
    for_person = agent.login(server.url, person, purpose="report")
    asked = person.asked
    assert asked["code_challenge_method"] == "S256" and asked["dpop_jkt"] == agent.key.thumbprint
    assert (asked["scope"], asked["resource"], asked["purpose"]) == ("desk:*", server.url, "report")
    redeemed = server.token_requests[0]
    assert (redeemed["code"], redeemed["redirect_uri"], redeemed["resource"]) == ("c", asked["redirect_uri"], server.url)
    assert login.digest(redeemed["code_verifier"]) == asked["code_challenge"]
    assert for_person.token(server.url) == "a" and len(server.token_requests) == 1
    with pytest.raises(RemitError, match="another sign-in"):
        for_person.token(f"{server.issuer}/mcp/other")
    assert agent.current(server.url) is None, "the agent itself still acts for itself"


def test_each_refresh_token_is_used_once(server, agent):
    for_person = agent.login(server.url, browser({"iss": server.issuer, "code": "c"}))
    for number in (1, 2):
        answer = {"access_token": f"a{number}", "refresh_token": f"r{number + 1}", "expires_in": 300}
        server.token = lambda form, answer=answer: (200, answer)
        assert for_person.token(server.url, ended=for_person.current(server.url)) == f"a{number}"
        assert server.token_requests[-1]["refresh_token"] == f"r{number}"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"code": "c"}, "not from"),
        ({"iss": "https://mix-up.example", "code": "c"}, "mix-up.example"),
        (
            {"iss": "ISSUER", "error": "access_denied", "error_description": "refused by alice"},
            r"refused by alice \[access_denied\]",
        ),
        ({"iss": "ISSUER"}, "neither a code nor an error"),
    ],
)
def test_an_answer_that_cannot_be_used_is_refused(server, agent, answer, words):
    answer = {name: value.replace("ISSUER", server.issuer) for name, value in answer.items()}
    with pytest.raises(SignInFailed, match=words):
        agent.login(server.url, browser(answer))
    assert server.token_requests == []


def test_a_refused_code_is_an_error(server, agent):
    server.token = lambda form: (400, {"error": "invalid_grant", "remit_code": "grant_invalid"})
    with pytest.raises(Refused, match="grant_invalid"):
        agent.login(server.url, browser({"iss": server.issuer, "code": "c"}))


def test_waiting_ends(server, agent, monkeypatch):
    running = threading.active_count()
    with pytest.raises(SignInFailed, match="open_url=print"):
        agent.login(server.url, lambda url: False)
    monkeypatch.setattr(login, "PATIENCE", 0.1)
    with pytest.raises(SignInFailed, match="no person signed in"):
        agent.login(server.url, lambda url: None)
    deadline = time.monotonic() + 10
    while threading.active_count() > running:
        assert time.monotonic() < deadline, "no listener stays"
