"""What the programs at the front door share: a person without a browser, the memory of a client, and the report."""

import html
import json
import re
import sys
from importlib.metadata import version
from urllib.parse import parse_qs, urlsplit


class Storage:
    """Keeps tokens in memory; the client is registered already, where one is given."""

    def __init__(self, client=None):
        self.client, self.tokens = client, None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


def decide(httpx, url, script):
    """A person opens the page, signs in and allows; where the browser is sent then."""
    hidden = lambda page: html.unescape(re.search(r'name="request" value="([^"]*)"', page.text)[1])
    with httpx.Client(base_url=script["issuer"], timeout=30) as browser:
        page = browser.get(url)
        if not page.is_redirect and 'name="request"' in page.text:
            form = {"username": script["user"], "password": script["password"], "request": hidden(page)}
            page = browser.post("/oauth/login", data=form)
        if not page.is_redirect and 'name="request"' in page.text:
            page = browser.post("/oauth/consent", data={"request": hidden(page), "decision": "allow"})
        if not page.is_redirect:
            raise RuntimeError("the page says: " + " ".join(re.sub(r"<[^>]*>", " ", page.text.split("<main")[-1]).split()))
        return page.headers["location"]


def answered(address):
    """The parameters of a redirect URI; raises what it says went wrong."""
    answer = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
    if "error" in answer:
        raise RuntimeError(f"{answer['error']}: {answer.get('error_description')}")
    return answer


def words(error):
    """The innermost words: task groups wrap what the client says."""
    while getattr(error, "exceptions", None):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"


def script():
    with open(sys.argv[1], encoding="utf-8") as file:
        return json.load(file)


async def report(doors, given):
    """What each of `(name, package, mode, kind, door)` gets. The kinds are those of doors/mod.rs."""
    found = []
    for name, package, mode, kind, door in doors:
        one = {"client": f"{name} {version(package)}", "mode": mode, "kind": kind}
        try:
            one["result"] = await door(given)
        except BaseException as error:  # noqa: BLE001 -- whatever the client says is the result
            one["words"] = words(error)
        found.append(one)
    print(json.dumps(found))
