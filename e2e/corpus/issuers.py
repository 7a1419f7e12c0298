"""Attacks on tokens of other issuers that prove a root: those about people, and those about workloads. The insider has every key of the
server, but not those of the issuers."""

import copy

import verify as v
import world as w
from cases import case, insider, sides, small
from sign_ins import hs256, none, turned

ISSUER, CI = "https://sso.partner.example", "https://ci.example"
THEIRS, NEXT = w.Signer("partner-es256"), w.Signer("partner next")
CREDENTIALS = {
    "kubernetes": {"type": "kubernetes", "cluster": "prod", "namespace": "bots", "service_account": "planner", "uid": "u-1"},
    "federated": {"type": "federated", "issuer": "ci", "claims": {"repository_id": "7", "ref": "refs/heads/main"}},
    "spiffe_jwt": {"type": "spiffe", "id": "spiffe://example.org/ns/bots/*"},
}
TRUSTED = {"kubernetes": "prod", "federated": "ci", "spiffe_jwt": "example.org"}
PINNED = {ISSUER: {"keys": [THEIRS.jwk]}} | {name: {"keys": [THEIRS.jwk]} for name in TRUSTED.values()}


def attack(name, act, expect="custody", **options):
    world = small()
    act(world)
    insider(name, expect, world, **options)


# --- People -----------------------------------------------------------------------------------------------------------


def foreign(world, kind="access_token", spoil=None, sign=None, stated=None, hop=None, proof=None, typ=None, header=None, life=3600, **claims):
    """A trusted issuer says who a person is, for the planner; the planner gets its first token."""
    expires = world.now + life
    said = {"iss": ISSUER, "sub": "alice-9", "aud": w.ISS, "iat": world.now, "exp": world.now + life, "jti": world.fresh("theirs"), "client_id": "agent:planner"} | claims
    said = {name: value for name, value in said.items() if value is not None}
    types = {"access_token": "at+jwt", "jwt_grant": "JWT", "id_jag": "oauth-id-jag+jwt"}
    compact = sign(said) if sign else THEIRS.jws(typ or types[kind], said, **(header or {}))
    first = {"delegator": w.ALICE, "delegate": w.agent("planner"), "jkt": w.dpop("planner").jkt, "authority": w.BROAD, "purpose": None,
             "expires": expires, "jti": world.fresh("jti"), "edge": {"kind": "foreign_token", "jws": compact}} | (hop or {})  # fmt: skip
    subject = {"kind": kind, "jwk": THEIRS.jwk | {"kid": THEIRS.jkt, "alg": THEIRS.alg}, "single_use": kind != "access_token"} | (stated or {})
    subject |= {"proof": proof(world, compact)} if proof else {}
    chain = {"id": world.fresh("txn"), "root": w.ALICE, "hops": [first]}

    def both(draft):
        draft["commit"]["/token/subject"] = {name: value for name, value in subject.items() if value is not None}
        if spoil:
            spoil(draft)

    return world.issue("delegation", chain, first["authority"], first["jti"], expires, spoil=both)


def holder(signer=None, **lies):
    """The proof of the key that the token is bound to."""

    def make(world, compact):
        body = {"jti": world.fresh("proof"), "iat": world.now, "htm": "POST", "htu": w.ISS + "/oauth/token", "ath": v.b64u(w.sha(compact))} | lies
        return (signer or HOLDER).jws("dpop+jwt", {name: value for name, value in body.items() if value is not None}, embed=True)

    return make


HOLDER = w.Signer("holder")
BOUND = {"cnf": {"jkt": HOLDER.jkt}}


def people():
    for kind in ("access_token", "jwt_grant", "id_jag"):
        attack(f"honest after all: the {kind} of a trusted issuer", lambda world: world.call(foreign(world, kind)), "")
        attack(f"honest after all: the {kind} of a trusted issuer by a pinned key", lambda world: foreign(world, kind), "", pinned=PINNED)
        attack(f"the {kind} of a trusted issuer, of which another key is pinned", lambda world: foreign(world, kind), pinned={ISSUER: {"keys": [NEXT.jwk]}})
        attack(f"the {kind} of an issuer of which no key is pinned", lambda world: foreign(world, kind), pinned={})
        for name, claims in {
            "that had ended": {"iat": w.BEGIN - 900, "exp": w.BEGIN - 800},
            "of the future": {"iat": w.BEGIN + 900, "exp": w.BEGIN + 1200},
            "good for two days": {"exp": w.BEGIN + 2 * 86_400},
            "without a person": {"sub": None},
            "for nobody": {"aud": None},
            "that is an ID token": {"nonce": "n"},
            "that is a logout token": {"events": {}},
            "that was delegated before": {"act": {"sub": "x"}},
            "for another party to act with": {"may_act": {"sub": "agent:other"}},
            "of a kind that it does not have": {"typ": "ID"},
        }.items():
            attack(f"the {kind} {name}", lambda world: foreign(world, kind, **claims))
        for name, how in {
            "by a key that is not the stated one": {"sign": lambda claims: NEXT.jws(typ(kind), claims)},
            "by another key under its name": {"sign": lambda claims: w.Signer("made up-es256").jws(typ(kind), claims, kid=THEIRS.jkt)},
            "by the server's key": {"sign": lambda claims: w.ISSUER.jws(typ(kind), claims)},
            "that brings its key": {"sign": lambda claims: THEIRS.jws(typ(kind), claims, embed=True)},
            "with alg none": {"sign": none},
            "with HS256 and the public key as secret": {"sign": hs256},
            "of another type": {"typ": "dpop+jwt"},
            "with critical extensions": {"header": {"crit": ["x"]}},
            "with one bit of its signature turned": {"sign": lambda claims: turned(THEIRS.jws(typ(kind), claims))},
            "without a signature": {"sign": lambda claims: THEIRS.jws(typ(kind), claims).rpartition(".")[0] + "."},
        }.items():
            attack(f"the {kind} {name}", lambda world: foreign(world, kind, **how))
        for name, stated in {
            "another key": {"jwk": NEXT.jwk},
            "a symmetric key": {"jwk": {"kty": "oct", "k": "AAAA"}},
            "no key": {"jwk": None},
            "no kind": {"kind": None},
            "another kind": {"kind": "saml"},
            "a member more": {"more": "x"},
            "a use that is a text": {"single_use": "no"},
        }.items():
            attack(f"the {kind} beside which {name} is committed", lambda world: foreign(world, kind, stated=stated))
        attack(f"the {kind} beside which nothing is committed", lambda world: foreign(world, kind, spoil=lambda draft: draft["commit"].clear()))
        attack(f"the {kind} as the other kinds", lambda world: foreign(world, kind, stated={"kind": {"access_token": "id_jag", "jwt_grant": "id_jag", "id_jag": "jwt_grant"}[kind]}))

        def twice(world, kind=kind):
            seen = []
            foreign(world, kind, lambda draft: seen.append(copy.deepcopy(draft)))
            foreign(world, kind, lambda draft: moved(draft, seen[0]))

        attack(f"one {kind} under two delegations", twice, "" if kind == "access_token" else "custody")
    for name, how in {"the server's word": {"stated": {"single_use": True}}, "its issuer's word": {"urn:remit:single_use": True}}.items():

        def once(world, how=how):
            seen = []
            foreign(world, spoil=lambda draft: seen.append(copy.deepcopy(draft)), **how)
            foreign(world, spoil=lambda draft: moved(draft, seen[0]))

        attack(f"an access_token that is for one use by {name}, under two delegations", once)
    attack("an access_token that ends before its delegation", lambda world: foreign(world, hop={"expires": w.BEGIN + 4000}))
    attack("an assertion without a name", lambda world: foreign(world, "jwt_grant", jti=None))
    attack("an assertion for two", lambda world: foreign(world, "jwt_grant", aud=[w.ISS, "x"]))
    attack("an assertion for another server", lambda world: foreign(world, "id_jag", aud="https://other.example"))
    attack("an assertion that another client got", lambda world: foreign(world, "id_jag", client_id="agent:summarizer"))
    attack("honest after all: an access_token whose holder agreed", lambda world: foreign(world, **BOUND, proof=holder()), "")
    attack("honest after all: an access_token bound to the agent's key", lambda world: foreign(world, cnf={"jkt": w.dpop("planner").jkt}), "")
    attack("an access_token of whose holder nothing is known", lambda world: foreign(world, **BOUND))
    attack("an assertion bound to another key", lambda world: foreign(world, "jwt_grant", **BOUND, proof=holder()))
    attack("a proof where the token is bound to no key", lambda world: foreign(world, proof=holder()))
    for name, lies in {
        "by another key": {"signer": NEXT},
        "of another token": {"ath": v.b64u(w.sha("another"))},
        "of no token": {"ath": None},
        "of another method": {"htm": "GET"},
        "of yesterday": {"iat": w.BEGIN - 86_400},
        "without a name": {"jti": None},
    }.items():
        attack(f"a holder's proof {name}", lambda world: foreign(world, **BOUND, proof=holder(**lies)))
    attack("a token of another issuer at a later hop", lambda world: world.hand("named", foreign(world), lambda draft: draft["chain"]["hops"][-1].update(edge=draft["chain"]["hops"][0]["edge"])))
    world = small()
    world.call(foreign(world))
    case("honest after all: the token of a trusted issuer withheld with its chain", "", w.files(w.sealed_entries(world.rows), sides(world.rows, closed=("/token/subject", "/delegation/chain"))))


def typ(kind):
    return {"access_token": "at+jwt", "jwt_grant": "JWT", "id_jag": "oauth-id-jag+jwt"}[kind]


def moved(draft, of):
    one, other = draft["chain"]["hops"][0], of["chain"]["hops"][0]
    one.update(edge=other["edge"], expires=other["expires"])
    draft["token"]["exp"] = other["expires"]
    draft["commit"] = of["commit"]


# --- Workloads --------------------------------------------------------------------------------------------------------


def subjects(kind):
    pod = {"namespace": "bots", "serviceaccount": {"name": "planner", "uid": "u-1"}}
    return {
        "kubernetes": {"sub": "system:serviceaccount:bots:planner", "kubernetes.io": pod},
        "federated": {"sub": "repo:x", "repository_id": 7, "ref": "refs/heads/main"},
        "spiffe_jwt": {"sub": "spiffe://example.org/ns/bots/planner"},
    }[kind]


def vouched(world, kind="federated", spoil=None, sign=None, credential=None, facts=None, stated=None, unsigned=False, typ="JWT", header=None, jti=None, **claims):
    """An issuer vouches for the planner, which gets a token of its own."""
    config = {"agent": "agent:planner", "client": {"credentials": [CREDENTIALS[kind]] if credential is None else credential}}
    world.record("config_change", action=("agent.update", "admin"), ext={"config": config})
    said = {"iss": CI, "aud": w.ISS, "iat": world.now, "exp": world.now + 600, "jti": jti or world.fresh("run")} | subjects(kind) | claims
    said = {name: value for name, value in said.items() if value is not None}
    compact = sign(said) if sign else THEIRS.jws(typ, said, **(header or {}))
    if unsigned:
        compact = compact.rpartition(".")[0] + "."
    kept = {"subject": said.get("sub"), "key": THEIRS.jwk | {"kid": THEIRS.jkt, "alg": THEIRS.alg}} | (stated or {})
    chain = {"id": world.fresh("txn"), "root": w.agent("planner"), "hops": []}

    def both(draft):
        draft["edge"] = {"kind": "workload_token", "jws": compact}
        draft["facts"]["credential"] = {"kind": kind, "trusted_as": TRUSTED[kind]} | (facts or {})
        draft["commit"]["/token/credential"] = {name: value for name, value in kept.items() if value is not None}
        if spoil:
            spoil(draft)

    return world.issue("token", chain, w.BROAD, world.fresh("jti"), world.now + 600, spoil=both)


def workloads():
    for kind in CREDENTIALS:
        attack(f"honest after all: a workload's token ({kind})", lambda world: world.call(vouched(world, kind)), "")
        attack(f"honest after all: a workload's token by a pinned key ({kind})", lambda world: vouched(world, kind), "", pinned=PINNED)
        attack(f"honest after all: a workload's token kept without its signature, twice ({kind})", lambda world: [vouched(world, kind, unsigned=True, jti="same", iat=w.BEGIN) for _ in range(2)], "", pinned={})
        attack(f"a workload's token of an issuer of which another key is pinned ({kind})", lambda world: vouched(world, kind), pinned={TRUSTED[kind]: {"keys": [NEXT.jwk]}})
        attack(f"a workload's token of an issuer of which no key is pinned ({kind})", lambda world: vouched(world, kind), pinned={})
        others = {"kubernetes": {"kubernetes.io": {"namespace": "bots", "serviceaccount": {"name": "planner", "uid": "u-2"}}}, "federated": {"repository_id": 8}, "spiffe_jwt": {"sub": "spiffe://example.org/ns/robots/planner"}}[kind]
        for unsigned in (False, True):
            how = f"({kind}{', kept without its signature' if unsigned else ''})"
            for name, claims in {
                "of another workload": others,
                "without a workload": {"sub": None},
                "for another server": {"aud": "https://other.example"},
                "for two servers": {"aud": [w.ISS, "x"]},
                "that had ended": {"iat": w.BEGIN - 900, "exp": w.BEGIN - 800},
                "of the future": {"iat": w.BEGIN + 900},
                "without an end": {"exp": None},
            }.items():
                attack(f"a workload's token {name} {how}", lambda world: vouched(world, kind, unsigned=unsigned, **claims))
            attack(f"a workload's token of another type {how}", lambda world: vouched(world, kind, unsigned=unsigned, typ="at+jwt"))
            attack(f"a workload's token of a proof's type {how}", lambda world: vouched(world, kind, unsigned=unsigned, typ="dpop+jwt"))
            attack(f"a workload's token of which the record names another subject {how}", lambda world: vouched(world, kind, unsigned=unsigned, stated={"subject": "x"}))
            attack(f"a workload's token that the agent is not registered with {how}", lambda world: vouched(world, kind, unsigned=unsigned, credential=[]))
            attack(f"a workload's token of another issuer than its credential's {how}", lambda world: vouched(world, kind, unsigned=unsigned, facts={"trusted_as": "another"}))
            attack(f"a workload's token under another kind of credential {how}", lambda world: vouched(world, kind, unsigned=unsigned, facts={"kind": {"kubernetes": "federated"}.get(kind, "kubernetes")}))
            attack(f"a workload's token without what it was checked with {how}", lambda world: vouched(world, kind, unsigned=unsigned, spoil=lambda draft: draft["commit"].clear()))
        for name, how in {
            "by a key that is not the stated one": {"sign": lambda claims: NEXT.jws("JWT", claims)},
            "by another key under its name": {"sign": lambda claims: w.Signer("made up-es256").jws("JWT", claims, kid=THEIRS.jkt)},
            "by the server's key": {"sign": lambda claims: w.ISSUER.jws("JWT", claims)},
            "that brings its key": {"sign": lambda claims: THEIRS.jws("JWT", claims, embed=True)},
            "with alg none": {"sign": lambda claims: none(claims) + "AA"},
            "with HS256 and the public key as secret": {"sign": hs256},
            "with critical extensions": {"header": {"crit": ["x"]}},
            "with one bit of its signature turned": {"sign": lambda claims: turned(THEIRS.jws("JWT", claims))},
            "beside which another key is stated": {"stated": {"key": NEXT.jwk}},
            "beside which a symmetric key is stated": {"stated": {"key": {"kty": "oct", "k": "AAAA"}}},
            "beside which no key is stated": {"stated": {"key": None}},
        }.items():
            attack(f"a workload's token {name} ({kind})", lambda world: vouched(world, kind, **how))
        attack(f"a workload's token used twice ({kind})", lambda world: [vouched(world, kind, jti="same", iat=w.BEGIN, exp=w.BEGIN + 600) for _ in range(2)])
        attack(f"a workload's token with critical extensions, kept without its signature ({kind})", lambda world: vouched(world, kind, unsigned=True, header={"crit": ["x"]}))
        attack(f"a workload's token in the place of a sign-in ({kind})", lambda world: world.login(lambda draft: draft["chain"]["hops"][0]["edge"].update(kind="workload_token")))
    attack("honest after all: a SPIFFE ID of its own", lambda world: vouched(world, "spiffe_jwt", credential=[{"type": "spiffe", "id": "spiffe://example.org/ns/bots/planner"}], typ="JOSE"), "")
    attack("a SPIFFE ID of another trust domain", lambda world: vouched(world, "spiffe_jwt", sub="spiffe://example.com/ns/bots/planner"))
    attack("a SPIFFE ID that climbs", lambda world: vouched(world, "spiffe_jwt", sub="spiffe://example.org/ns/bots/../x"))


def attacks():
    for part in (people, workloads):
        part()
