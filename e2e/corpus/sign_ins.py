"""Attacks on the evidence of a sign-in at an identity provider, by an insider who has every key of the server, but not the provider's."""

import copy
import hmac
import json

import verify as v
import world as w
from cases import case, insider, sides, small

CORP, OTHER = "https://id.example/realms/staff", "https://login.example"
IDP, NEXT = w.Signer("corp-es256"), w.Signer("corp next")
CLIENT = "remit"
PINNED = {CORP: {"keys": [IDP.jwk, NEXT.jwk]}}
RESOURCE = w.HELPDESK


def name(issuer, sub, provider="corp"):
    return f"user:{provider}-{w.sha(v.canonical([issuer, sub])).hex()[:40]}"


def person(sub="alice-1", issuer=CORP):
    return {"iss": w.ISS, "sub": name(issuer, sub)}


def sign_in(world, spoil=None, request=None, kind="requested", signer=IDP, sign=None, stated=None, who=None, hop=None, life=3600, header=None, **claims):
    """A person signs in at the provider for what the planner asks, and agrees; the planner gets its first token."""
    who, begun, until = who or person(), world.now, world.now + 2 * life
    asked = {"type": "remit.sign-in.v1", "salt": v.b64u(w.sha(world.fresh("salt"))), "agent": "agent:planner", "redirect_uri": "https://app.example/cb",
             "code_challenge": world.fresh("challenge"), "authority": w.BROAD, "resources": [RESOURCE], "purpose": "Close ticket T-1"} | (request or {})  # fmt: skip
    asked = {name: value for name, value in asked.items() if value is not None}
    said = {"iss": CORP, "sub": "alice-1", "aud": CLIENT, "iat": begun, "exp": begun + 300, "auth_time": begun - 7, "acr": "2", "amr": ["pwd", "otp"],
            "nonce": v.b64u(w.sha(v.canonical(asked)))} | claims  # fmt: skip
    said = {name: value for name, value in said.items() if value is not None}
    compact = sign(said) if sign else signer.jws("JWT", said, **(header or {}))
    first = {"delegator": who, "delegate": w.agent("planner"), "jkt": w.dpop("planner").jkt, "authority": w.BROAD,
             "purpose": "Close ticket T-1", "expires": until, "jti": world.fresh("jti")} | (hop or {})  # fmt: skip
    shown = {"agent": first["delegate"]["sub"], "authority": first["authority"], "until": first["expires"], "purpose": first["purpose"]}
    shown = {name: value for name, value in shown.items() if value is not None}
    own = {"iss": w.ISS, "sub": who["sub"], "aud": first["delegate"]["sub"], "iat": world.now, "exp": world.now + 300, "jti": first["jti"], "urn:remit:consent": v.digest(shown)}
    chain = {"id": world.fresh("txn"), "root": who, "hops": [first | {"edge": {"kind": "id_token", "jws": w.ISSUER.jws("JWT", own)}}]}
    facts = {"kind": kind, "provider": "corp", "issuer": CORP, "client": CLIENT, "token_hash": v.named_hash(compact), "key": signer.jwk | {"kid": signer.jkt, "alg": signer.alg, "use": "sig"}}

    def both(draft):
        draft["facts"]["sign_in"] = facts | (stated or {})
        draft["commit"]["/token/sign_in"] = {"id_token": compact, "request": asked}
        if spoil:
            spoil(draft)

    how = {"auth_time": begun - 7, "acr": "2", "amr": ["pwd", "otp"]}
    return world.issue("delegation", chain, first["authority"], first["jti"], world.now + life, spoil=both, **how)


def attack(name, act, expect="custody", **options):
    """`act(world)` ends with the record that must be caught."""
    world = small()
    act(world)
    insider(name, expect, world, **options)


def signed(name, expect="custody", **lies):
    attack(name, lambda world: sign_in(world, **lies), expect)


def facts(change):
    return lambda draft: change(draft["facts"]["sign_in"])


def evidence(change):
    return lambda draft: change(draft["commit"]["/token/sign_in"])


def honest():
    def whole(world):
        planner = sign_in(world)
        world.call(planner)
        world.call(world.hand("named", planner))
        world.again(planner, False)

    attack("honest after all: a sign-in for what was asked", whole, "")
    attack("honest after all: a sign-in by a pinned key", whole, "", pinned=PINNED)
    signed("honest after all: a sign-in for all that the person may hand over", "", request={"authority": None, "resources": None})
    signed("honest after all: a sign-in for more than was agreed to", "", hop={"authority": w.NARROW})
    signed("honest after all: a sign-in without a purpose", "", request={"purpose": None}, hop={"purpose": None})
    signed("honest after all: a sign-in for as long as was asked", "", request={"lifetime": 7200})
    signed("honest after all: a sign-in that is ten minutes old", "", iat=w.BEGIN - 597, exp=w.BEGIN - 500, auth_time=w.BEGIN - 4)
    signed("honest after all: a provider whose clock is ahead", "", iat=w.BEGIN + 40, auth_time=w.BEGIN + 40)
    signed("honest after all: a provider that names the client once more", "", azp=CLIENT, aud=[CLIENT], sid="s-1", email="alice@example.org")
    signed("honest after all: a sign-in by an Ed25519 key", "", signer=NEXT)

    def earlier(world):
        seen = []
        sign_in(world, lambda draft: seen.append(copy.deepcopy(draft)))
        for _ in range(2):
            sign_in(world, moved(seen[0], "earlier"), request={"purpose": "Another"}, hop={"purpose": "Another"})

    attack("honest after all: one sign-in, and two consents later in its session", earlier, "")
    signed("honest after all: an earlier sign-in for another agent", "", kind="earlier", request={"agent": "agent:summarizer"})
    own = {name: None for name in ("agent", "redirect_uri", "code_challenge", "authority", "resources", "purpose")}
    signed("honest after all: an earlier sign-in for the person's own account", "", kind="earlier", request=own)
    late = {"iat": w.BEGIN - 7 * 3600, "exp": w.BEGIN - 7 * 3600 + 300}
    signed("honest after all: an earlier sign-in of seven hours ago", "", kind="earlier", **late)
    for what, closed in {"withheld": ("/token/sign_in",), "withheld with its chain": ("/token/sign_in", "/delegation/chain"), "and all else withheld": "all"}.items():
        world = small()
        world.call(sign_in(world))
        case(f"honest after all: a sign-in {what}", "", w.files(w.sealed_entries(world.rows), sides(world.rows, closed=closed)), pinned=PINNED)


def moved(draft, kind="requested"):
    """Puts the evidence of another record in the place of this one's."""

    def spoil(into):
        into["facts"]["sign_in"] = draft["facts"]["sign_in"] | {"kind": kind}
        into["commit"]["/token/sign_in"] = draft["commit"]["/token/sign_in"]
        into["token"] |= {name: draft["token"][name] for name in ("auth_time", "acr", "amr")}

    return spoil


def tokens():
    for name_, claims in {
        "of another provider": {"iss": OTHER},
        "of a provider with another spelling": {"iss": CORP + "/"},
        "for another client": {"aud": "another"},
        "for two clients": {"aud": [CLIENT, "another"]},
        "for no client": {"aud": None},
        "whose authorized party is another": {"azp": "another"},
        "without a nonce": {"nonce": None},
        "with another nonce": {"nonce": v.b64u(w.sha("another"))},
        "without a time": {"iat": None},
        "without an end": {"exp": None},
        "without a person": {"sub": None},
        "about an empty person": {"sub": ""},
        "about another person": {"sub": "mallory-1"},
        "that ended before it began": {"exp": w.BEGIN - 400},
        "that is good for two days": {"exp": w.BEGIN + 2 * 86_400},
        "of the future": {"iat": w.BEGIN + 900, "exp": w.BEGIN + 1200},
        "not valid yet": {"nbf": w.BEGIN + 900},
        "of an hour ago": {"iat": w.BEGIN - 3600, "exp": w.BEGIN + 300},
        "of another authentication time": {"auth_time": w.BEGIN - 4000},
        "of a later authentication": {"auth_time": w.BEGIN + 300},
        "of a weaker class": {"acr": "1"},
        "of no class": {"acr": None},
        "of other methods": {"amr": ["pwd"]},
        "of no methods": {"amr": None},
        "whose methods are a text": {"amr": "pwd otp"},
    }.items():
        signed(f"a provider's ID token {name_}", **claims)
    for name_, how in {
        "by a key that is not the stated one": {"sign": lambda claims: NEXT.jws("JWT", claims)},
        "by the server's key": {"sign": lambda claims: w.ISSUER.jws("JWT", claims)},
        "by another key under its name": {"sign": lambda claims: w.Signer("made up-es256").jws("JWT", claims, kid=IDP.jkt)},
        "that brings its key": {"sign": lambda claims: IDP.jws("JWT", claims, embed=True)},
        "with alg none": {"sign": lambda claims: none(claims)},
        "with alg none and a signature": {"header": {"alg": "none"}},
        "with HS256 and the public key as secret": {"sign": lambda claims: hs256(claims)},
        "with the algorithm of another key": {"header": {"alg": "EdDSA"}},
        "under another name of its key": {"header": {"kid": "another"}},
        "of another type": {"sign": lambda claims: IDP.jws("at+jwt", claims)},
        "with critical extensions": {"header": {"crit": ["x"]}},
        "that names its key elsewhere": {"header": {"jku": "https://x.example/"}},
        "with one bit of its signature turned": {"sign": lambda claims: turned(IDP.jws("JWT", claims))},
        "without a signature": {"sign": lambda claims: IDP.jws("JWT", claims).rpartition(".")[0] + "."},
        "that is no JWS": {"sign": lambda claims: "x"},
    }.items():
        signed(f"a provider's ID token {name_}", **how)
    # Not even where the token repeats it.
    for name_, auth_time in {"in milliseconds": w.BEGIN * 1000, "of a minute ahead": w.BEGIN + 200}.items():
        signed(f"an authentication time {name_}", auth_time=auth_time, spoil=lambda draft, time=auth_time: draft["token"].update(auth_time=time))
    for methods in (False, 0, "", {}):
        signed(f"a token whose methods are {json.dumps(methods)}", amr=None, spoil=lambda draft, methods=methods: draft["token"].update(amr=methods))
    signed("an earlier sign-in of two days ago", kind="earlier", iat=w.BEGIN - 2 * 86_400, exp=w.BEGIN - 2 * 86_400 + 300)
    signed("an earlier sign-in with another nonce", kind="earlier", nonce=v.b64u(w.sha("another")))
    signed("an earlier sign-in of another person", kind="earlier", sub="mallory-1")


def none(claims):
    return ".".join(v.b64u(json.dumps(part).encode()) for part in ({"alg": "none", "typ": "JWT", "kid": IDP.jkt}, claims)) + "."


def hs256(claims):
    signed_ = ".".join(v.b64u(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT", "kid": IDP.jkt}, claims))
    return f"{signed_}.{v.b64u(hmac.digest(v.canonical(IDP.jwk), signed_.encode(), 'sha256'))}"


def turned(jws):
    return jws[:-5] + ("A" if jws[-5] != "A" else "B") + jws[-4:]


def requests():
    wide = [w.BROAD[0] | {"actions": ["*"]}]
    for name_, how in {
        "another agent": {"request": {"agent": "agent:summarizer"}},
        "another purpose": {"request": {"purpose": "Read"}},
        "no purpose": {"request": {"purpose": None}},
        "a purpose where none was agreed to": {"hop": {"purpose": None}},
        "less than was agreed to": {"request": {"authority": w.NARROW}},
        "less than was agreed to, by a wider consent": {"hop": {"authority": wide}},
        "nothing": {"request": {"authority": []}},
        "another resource": {"request": {"resources": ["https://other.example/mcp"]}},
        "a shorter time": {"request": {"lifetime": 60}},
        "the person's own account": {"request": {name: None for name in ("agent", "redirect_uri", "code_challenge", "authority", "resources", "purpose")}},
    }.items():
        signed(f"a sign-in for {name_}", **how)
    for name_, request in {
        "of another type": {"type": "remit.sign-in.v2"},
        "with a short salt": {"salt": "x"},
        "with a salt that is no text": {"salt": 7},
        "without a salt": {"salt": None},
        "with a member more": {"more": "x"},
        "without a challenge": {"code_challenge": None},
        "with an empty list of resources": {"resources": []},
        "with a resource that is no text": {"resources": [7]},
        "with an authority that is none": {"authority": "*"},
        "with an unknown dimension": {"authority": [w.BROAD[0] | {"weekdays": ["mon"]}]},
        "with a lifetime that is a text": {"lifetime": "7200"},
        "with an authority that is an object": {"authority": {"x": 1}},
    }.items():
        signed(f"a committed request {name_}", request=request)
        signed(f"an earlier committed request {name_}", request=request, kind="earlier")
    signed("another salt than was committed to", spoil=evidence(lambda one: one["request"].update(salt=v.b64u(w.sha("another")))))
    signed("another agent than was committed to", request={"agent": "agent:other"}, spoil=evidence(lambda one: one["request"].update(agent="agent:planner")))
    signed("a request that is a text", spoil=evidence(lambda one: one.update(request="x")))


def records():
    for name_, change in {
        "another kind": lambda one: one.update(kind="sworn"),
        "another client": lambda one: one.update(client="another"),
        "another issuer": lambda one: one.update(issuer=OTHER),
        "another token": lambda one: one.update(token_hash=v.named_hash("x")),
        "another key": lambda one: one.update(key=NEXT.jwk),
        "a symmetric key": lambda one: one.update(key={"kty": "oct", "k": "AAAA"}),
        "a private key": lambda one: one.update(key=one["key"] | {"d": "x"}),
        "no key": lambda one: one.pop("key"),
        "no kind": lambda one: one.pop("kind"),
        "a member more": lambda one: one.update(more="x"),
        "a provider that is no text": lambda one: one.update(provider=7),
    }.items():
        signed(f"a record that states {name_} of the sign-in", spoil=facts(change))
    signed("a record that states a sign-in and has none", spoil=lambda draft: draft["commit"].pop("/token/sign_in"))
    signed("a record that has a sign-in and states none", spoil=lambda draft: draft["facts"].pop("sign_in"))
    signed("a sign-in that is a text", spoil=lambda draft: draft["facts"].update(sign_in="requested"))
    signed("evidence with a member more", spoil=evidence(lambda one: one.update(more="x")))
    signed("evidence without a request", spoil=evidence(lambda one: one.pop("request")))
    signed("evidence that is a text", spoil=lambda draft: draft["commit"].update({"/token/sign_in": "x"}))
    signed("a record that states null for the sign-in", spoil=lambda draft: (draft["facts"].update(sign_in=None), draft["commit"].pop("/token/sign_in")))
    signed("a sign-in that is a list", spoil=lambda draft: draft["facts"].update(sign_in=list(draft["facts"]["sign_in"].values())))
    signed("evidence that is a list", spoil=lambda draft: draft["commit"].update({"/token/sign_in": list(draft["commit"]["/token/sign_in"].values())}))
    signed("a person of another name", who={"iss": w.ISS, "sub": "user:alice"})
    signed("a person of another digest", who=person("mallory-1"))
    signed("a person of another provider", who=person(issuer=OTHER))
    signed("a person whose name is the digest alone", who={"iss": w.ISS, "sub": "user:" + person()["sub"].partition("-")[2]})

    def swapped(world):
        seen = []
        sign_in(world, lambda draft: seen.append(copy.deepcopy(draft)))
        sign_in(world, moved(seen[0]))

    attack("one sign-in under two consents", swapped)

    def between(world):
        seen = []
        world.register("other")
        sign_in(world, lambda draft: seen.append(copy.deepcopy(draft)), request={"agent": "agent:other"}, hop={"delegate": w.agent("other")})
        world.rows.pop()
        sign_in(world, moved(seen[0]))

    attack("the sign-in of another consent in the place of this one's", between)

    def another(world):
        seen = []
        sign_in(world, lambda draft: seen.append(copy.deepcopy(draft)), who=person("bob-1"), sub="bob-1")
        sign_in(world, moved(seen[0], "earlier"))

    attack("another person's earlier sign-in", another)
    later = lambda draft: draft["facts"].update(sign_in={"kind": "earlier", "provider": "corp", "issuer": CORP, "client": CLIENT, "token_hash": v.named_hash("x"), "key": IDP.jwk})
    attack("a hop of an agent that states a sign-in", lambda world: world.hand("named", sign_in(world), later))
    attack("a copy that states a sign-in", lambda world: world.again(sign_in(world), True, later))
    attack("a refresh that states a sign-in", lambda world: world.again(sign_in(world), False, later))
    attack("an agent's own token that states a sign-in", lambda world: world.own(spoil=later))


def pins():
    for name_, pinned in {
        "another key of the provider": {CORP: {"keys": [NEXT.jwk]}},
        "no key of the provider": {CORP: {"keys": []}},
        "the key of another provider": {OTHER: {"keys": [IDP.jwk]}},
        "the key under another spelling": {CORP + "/": {"keys": [IDP.jwk]}},
        "nothing": {},
    }.items():
        attack(f"a sign-in while the auditor knows {name_}", sign_in, pinned=pinned)
        attack(f"an earlier sign-in while the auditor knows {name_}", lambda world: sign_in(world, kind="earlier"), pinned=pinned)
        world = small()
        sign_in(world)
        rows = world.rows
        case(f"insider, nothing disclosed: a sign-in while the auditor knows {name_}", "custody", w.files(w.sealed_entries(rows), sides(rows, closed="all")), len(rows) - 1, pinned=pinned)
    # The server made up the provider's key and signed with it: only the provider's own key gives it away.
    mine = w.Signer("made up")
    attack("honest after all, as far as the log shows: a made-up key of the provider", lambda world: sign_in(world, signer=mine), "")
    attack("a made-up key of the provider, while the auditor knows the real one", lambda world: sign_in(world, signer=mine), pinned=PINNED)


def attacks():
    for part in (honest, tokens, requests, records, pins):
        part()
