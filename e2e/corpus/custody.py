"""Attacks on the chain of custody, by an insider who has every key of the server, but not those of people and agents."""

import copy

import verify as v
import world as w
from cases import insider, signed_in, small


def attack(name, act, expect="custody", since=None):
    """`act(world, planner)` ends with the record that must be caught."""
    world, planner = signed_in()
    act(world, planner)
    insider(name, expect, world)


def hop(change):
    """Changes the newest hop of a token about to be recorded."""
    return lambda draft: change(draft["chain"]["hops"][-1], draft["token"])


def both(**members):
    """Hop and token alike get another authority."""

    def change(draft):
        for details in (draft["chain"]["hops"][-1]["authority"], draft["token"]["authorization_details"]):
            details[0] |= members
            for name in [name for name, value in members.items() if value is None]:
                del details[0][name]

    return change


def widened():
    parent = {
        "type": "tool_access", "locations": [w.HELPDESK], "actions": ["a", "b"], "fields": ["/items/*/id", "/name"],
        "arguments": {"/max": {"max": 50}, "/min": {"min": 5}, "/one": {"eq": "x"}, "/some": {"in": ["x", "y", 3]}, "/path": {"prefix": "/docs/"}, "/none": {"absent": True},
            "/cc": {"unset": True}, "/to": {"each": {"prefix": ["a@", "b@"]}}, "/url": {"host": ["a.com", "b.com"]}, "/in/deep": {"max": 9}},
        "only": ["/max", "/min", "/one", "/some", "/path", "/cc", "/to", "/url", "/in", "/body"],
        "limits": {"name": "desk", "calls": 10, "spend": {"/max": 40}}, "delegate": {"to": ["agent:summarizer"], "depth": 2}, "not_after": w.BEGIN + 5000,
    }  # fmt: skip
    same = {name: value for name, value in parent.items() if name != "delegate"}
    narrower = same | {"actions": ["a"], "fields": ["/items/0/id"], "limits": {"name": ["desk", "mine"], "calls": 1, "spend": {"/max": 4}}, "not_after": w.BEGIN + 4000}

    def one(name, details, expect="custody"):
        # The delegator itself signed for it: only the comparison with what it holds can tell.
        world = small()
        planner = world.login(details=[parent])
        world.hand("named", planner, details=[details])
        insider(f"a hop and {name}", expect, world)

    argument = lambda name, constraint: same | {"arguments": {**same["arguments"], name: constraint}}
    one("honest after all: the same", same, "")
    one("honest after all: less of everything", narrower, "")
    one("honest after all: a prefix of one host", argument("/url", {"prefix": "https://a.com/docs"}), "")
    one("honest after all: an empty list of recipients", argument("/to", {"each": {"in": []}}), "")
    one("honest after all: fewer arguments", same | {"only": [at for at in same["only"] if at != "/body"]}, "")
    one("honest after all: handed on once more", same | {"delegate": {"to": ["agent:summarizer"], "depth": 1}}, "")
    for name, details in {
        "another location": same | {"locations": [w.HELPDESK, "https://other.example/"]},
        "every location": {key: value for key, value in same.items() if key != "locations"},
        "another action": same | {"actions": ["a", "c"]},
        "every action": same | {"actions": ["*"]},
        "another field": same | {"fields": ["/items/*/id", "/secret"]},
        "every item of a field": same | {"fields": ["/items"]},
        "every field": {key: value for key, value in same.items() if key != "fields"},
        "a greater maximum": argument("/max", {"max": 40.5}) | {"limits": {"name": "desk", "calls": 10, "spend": {"/max": 41}}},
        "a lesser minimum": argument("/min", {"min": 4.999}),
        "another value": argument("/one", {"eq": "y"}),
        "one value more": argument("/some", {"in": ["x", "y", 3, 4]}),
        "a value of another type": argument("/some", {"in": ["x", True]}),
        "a shorter prefix": argument("/path", {"prefix": "/home"}),
        "an argument that was to be left out": argument("/none", {"eq": 1}),
        "an argument left open": same | {"arguments": {key: value for key, value in same["arguments"].items() if key != "/min"}},
        "more calls": same | {"limits": {"name": "desk", "calls": 11, "spend": {"/max": 40}}},
        "any number of calls": same | {"limits": {"name": "desk", "spend": {"/max": 40}}},
        "no name of the budget": same | {"limits": {"calls": 10, "spend": {"/max": 40}}},
        "another name of the budget": same | {"limits": {"name": "other", "calls": 10, "spend": {"/max": 40}}},
        "no total": same | {"limits": {"name": "desk", "calls": 10}},
        "a value where nothing was to be": argument("/cc", {"in": ["", "x"]}),
        "an item that was not to be": argument("/to", {"each": {"prefix": ["a@", "c@"]}}),
        "a text for a list": argument("/to", {"prefix": "a@"}),
        "another host": argument("/url", {"host": ["a.com", "c.com"]}),
        "a prefix that reaches another host": argument("/url", {"prefix": "https://a.com"}),
        "a text for an object": same | {"arguments": {key: value for key, value in same["arguments"].items() if key != "/in/deep"} | {"/in": {"eq": "x"}}},
        "one argument more": same | {"only": same["only"] + ["/bcc"]},
        "any further argument": {key: value for key, value in same.items() if key != "only"},
        "a maximum greater in the last digit": argument("/in/deep", {"max": 9.000000000000002}),
        "a later end": same | {"not_after": w.BEGIN + 5001},
        "no end": {key: value for key, value in same.items() if key != "not_after"},
        "as many hops more": same | {"delegate": {"to": ["agent:summarizer"], "depth": 2}},
        "others to hand it on to": same | {"delegate": {"to": ["agent:other"], "depth": 1}},
        "anyone to hand it on to": same | {"delegate": {"to": ["*"], "depth": 1}},
        "a second grant": None,
        "an unknown dimension": same | {"weekdays": ["mon"]},
        "an unknown constraint": argument("/max", {"regex": ".*"}),
    }.items():
        if details is None:
            world = small()
            planner = world.login(details=[parent])
            world.hand("named", planner, details=[same, same | {"actions": ["c"]}])
            insider("a hop and a second grant", "custody", world)
        else:
            one(name, details)
    for member, value in {"actions": ["tickets_read", "admin_purge"], "locations": None, "arguments": {}, "fields": None}.items():
        for way in ("named", "statement"):
            attack(f"a {way} hop re-sealed with wider {member}", lambda world, planner: world.hand(way, planner, both(**{member: value})))
    attack("a hop to somebody it may not be handed to", lambda world, planner: (world.register("other"), world.hand("named", planner, to="other")))
    world, planner = signed_in()
    child = world.hand("named", planner)
    world.hand("named", child, to="other")
    insider("a hop of what may not be handed on", "custody", world)


def times():
    late = lambda seconds: hop(lambda one, token: (one.update(expires=one["expires"] + seconds), token.update(exp=one["expires"])))
    for way in ("named", "statement"):
        attack(f"a {way} hop that lasts longer than signed for", lambda world, planner: world.hand(way, planner, late(1)))
    attack("a hop that outlives its parent token", lambda world, planner: world.hand("unstated", planner, life=-1))
    attack("a hop that outlives the hop before", lambda world, planner: world.hand("unstated", planner, life=-9000))
    attack("a token that outlives its hop", lambda world, planner: world.hand("named", planner, lambda d: d["token"].update(exp=d["token"]["exp"] + 1)))
    attack("a copy that outlives its original", lambda world, planner: world.again(planner, True, lambda d: d["token"].update(exp=planner["exp"] + 1)))
    attack("a first hop longer than agreed to", lambda world, planner: world.login(hop(lambda one, token: one.update(expires=one["expires"] + 1))))
    for way in ("named", "statement", "call", "unstated"):
        attack(f"a {way} proof of yesterday", lambda world, planner: world.hand(way, planner, iat=world.now - 86_400 * 31))
        attack(f"a {way} proof of tomorrow", lambda world, planner: world.hand(way, planner, iat=world.now + 86_400))
    attack("a statement for too long a time", lambda world, planner: world.hand("statement", planner, stated={"exp": world.now + 40 * 86_400}))
    attack("a statement that had ended", lambda world, planner: world.hand("statement", planner, iat=world.now - 900, stated={"exp": world.now - 400}))


def proofs():
    ways = ("named", "unstated", "statement", "call")
    for way in ways:
        attack(f"a {way} proof by another key", lambda world, planner: world.hand(way, planner, signer=w.dpop("summarizer")))
        attack(f"a {way} proof by the server's key", lambda world, planner: world.hand(way, planner, signer=w.ISSUER))
        attack(f"a {way} proof of another type", lambda world, planner: world.hand(way, planner, typ="JWT"))
        attack(f"a {way} proof with critical extensions", lambda world, planner: world.hand(way, planner, header={"crit": ["x"]}))
        attack(f"a {way} proof that names its key elsewhere", lambda world, planner: world.hand(way, planner, header={"jku": "https://x.example/"}))
        attack(f"a {way} proof with alg none", lambda world, planner: world.hand(way, planner, header={"alg": "none"}))
        attack(f"a {way} proof with the algorithm of another key", lambda world, planner: world.hand(way, planner, header={"alg": "ES256"}))
        attack(f"a {way} proof with a private key inside", lambda world, planner: world.hand(way, planner, header={"jwk": w.dpop("planner").jwk | {"d": "x"}}))
        attack(f"a {way} proof with another key inside", lambda world, planner: world.hand(way, planner, header={"jwk": w.ISSUER.jwk}))
        turned = lambda jws: jws[:-5] + ("A" if jws[-5] != "A" else "B") + jws[-4:]
        attack(f"a {way} proof with one bit of its signature turned", lambda world, planner: world.hand(way, planner, hop(lambda one, token: one["edge"].update(jws=turned(one["edge"]["jws"])))))
        attack(f"a {way} proof in padded base64", lambda world, planner: world.hand(way, planner, hop(lambda one, token: one["edge"].update(jws=one["edge"]["jws"] + "=="))))
        attack(f"a {way} proof without jti", lambda world, planner: world.hand(way, planner, jti=None))

        def twice(world, planner):
            parent = world.again(planner, True, aud=w.ENDPOINT) if way == "call" else planner
            edge = world.hand(way, parent)["chain"]["hops"][-1]["edge"]
            world.hand(way, parent, hop(lambda one, token: one.update(edge=edge)))

        attack(f"a {way} proof used twice", twice)
        attack(f"a {way} proof called another kind", lambda world, planner: world.hand(way, planner, hop(lambda one, token: one["edge"].update(kind={"statement": "id_token"}.get(way, "statement")))))
    for way in ("named", "statement"):
        for name, stated in {
            "another child": {"sub": "agent:other"},
            "another key": {"cnf": {"jkt": w.dpop("planner").jkt}},
            "another parent token": {"parent": "jti-of-another"},
            "another purpose": {"purpose": "something else"},
            "less than it says": {"authorization_details": [w.NARROW[0] | {"actions": ["tickets_list"]}]},
            "nothing": {"authorization_details": []},
        }.items():
            attack(f"a {way} hop whose delegator signed for {name}", lambda world, planner: world.hand(way, planner, stated=stated))
    attack("a statement by another delegator", lambda world, planner: world.hand("statement", planner, iss="agent:other"))
    attack("a statement to another server", lambda world, planner: world.hand("statement", planner, aud="https://other.example"))
    attack("a proof of another method", lambda world, planner: world.hand("named", planner, htm="GET"))
    attack("a proof for another endpoint", lambda world, planner: world.hand("named", planner, htu="https://other.example/oauth/token"))
    attack("a call proved elsewhere", lambda world, planner: world.hand("call", planner, htu="https://other.example/tasks"))
    attack("a call proved with another token", lambda world, planner: world.hand("call", planner, ath=v.b64u(w.sha("other"))))
    attack("a call proved with no token", lambda world, planner: world.hand("call", planner, ath=None))
    attack("honest after all: a proof in another spelling of the URL", lambda world, planner: world.hand("named", planner, htu="HTTPS://Remit.example:443/a/../oauth/%74oken"), "")
    attack("honest after all: a proof under an older name of the algorithm", lambda world, planner: world.hand("named", planner, header={"alg": "EdDSA"}), "")


def people():
    for name, claims in {
        "for another agent": {"aud": "agent:other"},
        "of another issuer": {"iss": "https://other.example"},
        "about somebody else": {"sub": "user:mallory"},
        "with consent to something else": {"urn:remit:consent": v.digest({})},
        "without consent": {"urn:remit:consent": None},
        "that had ended": {"iat": w.BEGIN - 7000, "exp": w.BEGIN - 6000},
        "that lasts too long": {"exp": w.BEGIN + 90_000},
        "of the future": {"iat": w.BEGIN + 9000, "exp": w.BEGIN + 9100},
    }.items():
        attack(f"an ID token {name}", lambda world, planner: world.login(**claims))
    for name, sign in {
        "by another key": lambda claims: w.Signer("other").jws("JWT", claims),
        "that brings its key": lambda claims: w.ISSUER.jws("JWT", claims, embed=True),
        "under an unknown name": lambda claims: w.ISSUER.jws("JWT", claims, kid="x"),
        "of another type": lambda claims: w.ISSUER.jws("at+jwt", claims),
    }.items():
        attack(f"an ID token {name}", lambda world, planner: world.login(sign=sign))
    attack("a purpose nobody agreed to", lambda world, planner: world.login(hop(lambda one, token: one.update(purpose="Close everything"))))
    attack("no purpose where one was agreed to", lambda world, planner: world.login(hop(lambda one, token: one.update(purpose=None))))
    attack("a first hop to another agent", lambda world, planner: world.login(hop(lambda one, token: one["delegate"].update(sub="agent:summarizer"))))
    attack("a first hop wider than agreed to", lambda world, planner: world.login(both(actions=["*"])))

    def retired(world, planner):
        world.restart(issuer=w.Signer("issuer two"))
        world.login()

    attack("an ID token by the issuer's retired key", retired)
    issuer_keys()


def issuer_keys():
    first, second = w.ISSUER, w.Signer("issuer two")
    by_second = lambda claims: second.jws("JWT", claims)
    signed_by = lambda key: lambda draft: draft["facts"].update(kid=key.jkt)

    def rotated(world, until=3600):
        world.keys([second, first], {first: world.now + until})

    def overlap(world, planner):
        rotated(world)
        world.login()
        world.call(world.login(signed_by(second), by_second))

    attack("honest after all: ID tokens of both keys while the old one is accepted", overlap, "")

    def before(world, planner):
        world.login(sign=by_second)

    attack("an ID token by a key of the issuer before the log states it", before)

    def after(world, planner):
        rotated(world, 60)
        world.now += 60
        world.login()

    attack("an ID token by the old key after its end", after)

    def revoked(world, planner):
        world.keys([second], revoked=first)
        world.login()

    attack("an ID token by a revoked key", revoked)

    def used(wait, spoil):
        def act(world, planner):
            token = world.again(planner, True, spoil)
            world.keys([second], revoked=first)
            world.now += wait
            world.call(token)

        return act

    attack("a call with a token of a revoked key", used(30, signed_by(first)))
    attack("honest after all: a call that was under way when its key was revoked", used(3, signed_by(first)), "")
    attack("honest after all: a call with a token of the key that stays", used(30, signed_by(second)), "")

    def child(world, planner):
        parent = world.again(planner, True, signed_by(first))
        token = world.hand("named", parent, signed_by(second))
        world.keys([second], revoked=first)
        world.now += 30
        world.call(token)

    attack("a call with a token that comes from one of a revoked key", child)

    def issued(world, planner):
        world.keys([second], revoked=first)
        world.now += 30
        world.again(planner, True, signed_by(first))

    attack("a token by a key that was revoked before", issued)

    def broken(world, planner):
        world.keys([second, first], {first: "soon"})

    attack("an end of a key that is no time", broken)


def chains():
    def mallory(draft):
        person = {"iss": w.ISS, "sub": "user:mallory"}
        draft["chain"]["root"] = draft["chain"]["hops"][0]["delegator"] = person
        draft["token"]["sub"] = "user:mallory"

    attack("another person at the root", lambda world, planner: world.login(mallory))
    attack("another person at the root of a later hop", lambda world, planner: world.hand("named", planner, mallory))
    for name, change in {
        "the first hop taken out": lambda d: d["chain"]["hops"].pop(0),
        "the hops exchanged": lambda d: d["chain"]["hops"].reverse(),
        "a hop twice": lambda d: d["chain"]["hops"].append(copy.deepcopy(d["chain"]["hops"][-1])),
        "the past rewritten": lambda d: d["chain"]["hops"][0].update(purpose="x"),
        "the past's end moved": lambda d: d["chain"]["hops"][0].update(expires=d["chain"]["hops"][0]["expires"] + 1),
        "another chain's id": lambda d: (d["chain"].update(id="txn-x"), d["token"].update(txn="txn-x")),
        "a chain id of its own in the token": lambda d: d["token"].update(txn="txn-x"),
        "a person as delegate": lambda d: d["chain"]["hops"][-1]["delegate"].update(sub="user:bob"),
        "a cycle": lambda d: d["chain"]["hops"][-1]["delegate"].update(sub="agent:planner"),
        "a delegate of another issuer": lambda d: d["chain"]["hops"][-1]["delegate"].update(iss="https://other.example"),
        "a delegator who does not hold it": lambda d: d["chain"]["hops"][-1]["delegator"].update(sub="agent:other"),
        "a hop nobody made": lambda d: d["chain"]["hops"][-1].update(jti="jti-x"),
        "a member more": lambda d: d["chain"].update(x=1),
        "a hop with a member more": lambda d: d["chain"]["hops"][-1].update(x=1),
        "another subject": lambda d: d["token"].update(sub="user:mallory"),
        "another actor": lambda d: d["token"]["act"].update(sub="agent:other"),
        "an actor cut off": lambda d: d["token"]["act"].pop("act"),
        "no actor": lambda d: d["token"].update(act=None),
        "a key of another": lambda d: d["token"].update(cnf={"jkt": w.dpop("planner").jkt}),
        "no key": lambda d: d["token"].update(cnf={}),
        "more than its hop": lambda d: d["token"].update(authorization_details=copy.deepcopy(w.BROAD)),
        "a parent nobody recorded": lambda d: d["token"].update({"urn:remit:ancestors": ["jti-x"]}),
        "no parent": lambda d: d["token"].update({"urn:remit:ancestors": []}),
        "a grandparent that is none": lambda d: d["token"]["urn:remit:ancestors"].append("jti-x"),
        "another digest of its authority": lambda d: d["facts"].update(authority_digest=v.named_hash("x")),
        "another jti in the record": lambda d: d["facts"].update(jti_hash=v.named_hash("x")),
        "another end in the record": lambda d: d["facts"].update(expires=1),
        "another audience in the record": lambda d: d["facts"].update(audience="https://other.example/"),
        "nine hops": lambda d: d["chain"].update(hops=d["chain"]["hops"] * 5),
    }.items():
        attack(f"a chain with {name}", lambda world, planner: world.hand("named", planner, change))
    splice = lambda world, planner: world.hand("named", planner, lambda d: d["token"].update({"urn:remit:ancestors": [world.login()["jti"]]}))
    world, planner = signed_in()
    other = world.login()
    world.hand("named", planner, lambda d: d["token"].update({"urn:remit:ancestors": [other["jti"]]}))
    insider("a chain spliced onto another person's token", "custody", world)
    world, planner = signed_in()
    other = world.own("summarizer")
    world.hand("named", planner, lambda d: d["chain"].update(id=other["chain"]["id"]))
    insider("two chains spliced", "custody", world)
    for name, plain in {
        "another party": lambda row: row.set("/chain/1/subject", w.agent("other")),
        "another person": lambda row: row.set("/chain/0/subject", {"iss": w.ISS, "sub": "user:mallory"}),
    }.items():

        def change(draft):
            draft["plain"] = lambda row: (plain(row), row.commit())

        attack(f"a record that shows {name} than its chain", lambda world, planner: world.hand("named", planner, change))
    for name, plain in {
        "an edge proof that is another": lambda row: (row.record["chain"][2].update(edge_proof=v.named_hash("x")), row.fields.pop("/chain/2/edge"), row.decoys.append(w.sha("decoy")), row.commit()),
        "another key": lambda row: row.record["chain"][2].update(cnf={"jkt": w.dpop("planner").jkt}),
        "a party more": lambda row: row.record.update(chain=[*row.record["chain"], row.record["chain"][2]], chain_depth=4),
    }.items():

        def change(draft):
            draft["plain"] = plain

        attack(f"a record with {name}", lambda world, planner: world.hand("named", planner, change), "custody commitments")


def tokens():
    attack("a token issued twice", lambda world, planner: world.again(planner, True, lambda d: (d["token"].update(jti=planner["jti"]), d["token"].update({"urn:remit:ancestors": []}))))
    attack("a copy wider than its original", lambda world, planner: world.again(planner, True, details=[w.BROAD[0] | {"actions": ["*"]}]))
    attack("a refresh of nothing", lambda world, planner: world.again(planner, False, lambda d: d["chain"]["hops"][0].update(jti="jti-x")))
    attack("a refresh with another chain", lambda world, planner: world.again(planner, False, lambda d: d["chain"]["hops"][0].update(purpose="x")))
    attack("a person's token without delegation", lambda world, planner: world.again(planner, False, lambda d: (d["chain"].update(hops=[]), d["token"].update(act=None))))
    for name, act in {
        "nobody registered": lambda world: world.own("stranger"),
        "by another agent's key": lambda world: world.own("planner", key=w.Signer("client summarizer")),
        "in another's name": lambda world: world.own("planner", iss="agent:summarizer"),
        "for another server": lambda world: world.own("planner", aud="https://other.example"),
        "that had ended": lambda world: world.own("planner", iat=world.now - 900, exp=world.now - 800),
        "that lasts too long": lambda world: world.own("planner", exp=world.now + 4000),
        "without jti": lambda world: world.own("planner", jti=""),
        "not there": lambda world: world.own("planner", lambda d: d.update(assertion=None)),
        "by a key that was replaced a minute ago": lambda world: (world.register("planner", w.Signer("new key")), setattr(world, "now", world.now + 60), world.own("planner")),
    }.items():
        attack(f"an agent's own token: assertion {name}", lambda world, planner: act(world))
    rotated = lambda world: (world.register("planner", w.Signer("new key")), setattr(world, "now", world.now + 59), world.own("planner"))
    attack("honest after all: an assertion by a key that was replaced less than a minute ago", lambda world, planner: rotated(world), "")
    world = small()
    assertion = []
    world.own("planner", lambda d: assertion.append(d["assertion"]))
    world.own("planner", lambda d: d.update(assertion=assertion[0]))
    insider("an assertion used twice", "custody", world)
    world = small()
    world.register("planner", extra=[w.Signer("client planner").jwk])
    world.own("planner")
    insider("honest after all: a key registered twice", "", world)


def unbound(draft):
    """The token is bound to no key, and says so."""
    for one in draft["chain"]["hops"][-1:]:
        one.pop("jkt", None)
    draft["token"]["cnf"] = None
    draft["binding"] = "danger_bearer"


def bearers():
    """Tokens that are bound to no key, and agents that are registered for them."""
    registered = lambda world, name="planner": (world.bind(name, "danger_bearer"), world)[1]
    login = lambda world, spoil=unbound, **more: world.login(spoil, **({"details": w.NARROW} | more))
    silent = lambda draft: (unbound(draft), draft.update(binding=None))
    narrow = lambda draft: (unbound(draft), draft["token"].update(authorization_details=copy.deepcopy(w.NARROW)))
    last = lambda draft: draft["chain"][-1]

    def one(name, act, expect="custody"):
        world = small()
        act(world)
        insider(name, expect, world)

    def later(world, seconds, act):
        world.bind("planner", "dpop")
        world.now += seconds
        act(world)

    one("honest after all: a call with a token that is bound to no key", lambda world: world.call(login(registered(world))), "")
    one("honest after all: an agent's own token that is bound to no key", lambda world: registered(world).own("planner", narrow), "")
    one("honest after all: a refresh of a token that is bound to no key", lambda world: world.again(login(registered(world)), False, unbound), "")
    one("a token bound to no key, of an agent that must prove one", login)
    one("a token bound to no key, in silence", lambda world: login(registered(world), silent))
    one("an agent's own token bound to no key, of an agent that must prove one", lambda world: world.own("planner", narrow))
    one("a token bound to no key that can be handed on", lambda world: login(registered(world), details=w.BROAD))
    one("a token bound to no key that was handed on", lambda world: registered(world, "summarizer").hand("named", world.login(), unbound))
    one("a hop from a token that is bound to no key", lambda world: world.hand("named", login(registered(world)), details=w.NARROW))
    one("a narrower copy of a token that is bound to no key", lambda world: world.again(login(registered(world)), True, unbound))
    one("a bound token that is said to be bound to no key", lambda world: login(registered(world), lambda draft: draft.update(binding="danger_bearer")))
    one("a token bound to no key whose hop names one", lambda world: login(registered(world), lambda draft: (unbound(draft), draft["chain"]["hops"][-1].update(jkt=w.dpop("planner").jkt))))
    one("honest after all: a token bound to no key, just after that ended", lambda world: later(registered(world), 58, login), "")
    one("a token bound to no key, a minute after that ended", lambda world: later(registered(world), 60, login))
    one("a call without a proof, in silence", lambda world: world.call(login(registered(world)), spoil=lambda draft: last(draft)["token"].pop("binding")))
    one("a bound token used as if it were bound to no key", lambda world: world.call(registered(world).login(), spoil=lambda draft: (last(draft).pop("cnf"), last(draft)["token"].update(binding="danger_bearer"))))

    def ended(world):
        token = login(registered(world))
        later(world, 61, lambda world: world.call(token))

    one("a call with a token bound to no key, a minute after that ended", ended)


def consents():
    """The ID token of a consent proves one delegation; older builds signed no `jti`."""
    for name, seconds, members, expect in [
        ("honest after all: two equal consents of an older build in one second", 1, {}, ""),
        ("an ID token without jti used again after a code's life", 90, {}, "custody"),
        ("an ID token with jti used twice", 1, {"jti": "own"}, "custody"),
    ]:
        world = small()
        first = world.login(**members)
        world.now += seconds - 1
        edge = first["chain"]["hops"][0]

        def same(draft, edge=edge):
            one = draft["chain"]["hops"][0]
            one.update(edge=edge["edge"], expires=edge["expires"])

        world.login(same)
        insider(name, expect, world)
    attack("an ID token signed for another delegation", lambda world, planner: world.login(jti="another"))


def uses():
    last = lambda draft: draft["chain"][-1]
    for name, spoil in {
        "a token nobody issued": lambda d: last(d)["token"].update(jti_hash=v.named_hash("x")),
        "no token": lambda d: last(d).pop("token"),
        "no proof of a key": lambda d: last(d).pop("cnf"),
        "another key": lambda d: last(d)["cnf"].update(jkt=w.dpop("summarizer").jkt),
        "another chain": lambda d: d.update(txn="txn-x"),
        "no chain": lambda d: d.update(txn=None),
        "another agent": lambda d: last(d).update(subject_ref="x"),
        "another person": lambda d: d["chain"][0].update(subject_ref="x"),
        "a party less": lambda d: d["chain"].pop(0),
    }.items():
        attack(f"a call with {name}", lambda world, planner: world.call(planner, spoil=spoil))

    def later(seconds, act=lambda world, planner: None):
        def run(world, planner):
            act(world, planner)
            world.now += seconds
            world.call(planner)

        return run

    attack("a call after the token's end", later(4000))
    revoke = lambda world, planner: world.record("token", action=("revoke", "identity"), ext={"token": {"revoked": "access_token", "jti_hash": v.named_hash(planner["jti"])}})
    end = lambda world, planner: world.record("token", action=("revoke", "identity"), txn=planner["txn"], ext={"token": {"revoked": "refresh_token"}})
    reuse = lambda world, planner: world.record("decision", action=("token", "identity"), ext={"token": {"revoked_txn": planner["txn"]}}, outcome=("denied", "none"), decision={"id": "d", "result": "deny"})
    for name, act in {"token": revoke, "delegation": end, "delegation, for a code was used twice,": reuse}.items():
        attack(f"a call after the {name} was revoked", later(20, act))
        attack(f"honest after all: a call under way while the {name} was revoked", later(2, act), "")
        attack(f"a hop after the {name} was revoked", lambda world, planner: (act(world, planner), setattr(world, "now", world.now + 20), world.hand("named", planner)))
        attack(f"a copy after the {name} was revoked", lambda world, planner: (act(world, planner), setattr(world, "now", world.now + 20), world.again(planner, True)))
    attack("a call by a child whose parent was revoked", lambda world, planner: ((child := world.hand("named", planner)), revoke(world, planner), setattr(world, "now", world.now + 20), world.call(child)))
    ended_sign_ins(later)
    attack("honest after all: a refusal after the token was revoked", lambda world, planner: (revoke(world, planner), setattr(world, "now", world.now + 20), world.call(planner, result="deny")), "")


def ended_sign_ins(later):
    """A person's sign-ins end; what rests on one before that is not used any more."""

    def end(after, **more):
        def run(world, planner):
            plain = {"ended_before": world.began + after, "provider": "corp", "cause": "backchannel_logout"}
            world.record("config_change", **({"action": ("account.end_sign_ins", "admin"), "ext": {"sign_in": plain}} | more))

        return run

    def since(act, expect):
        """Alice signed in a moment before."""

        def run(name):
            world, _ = signed_in()
            world.began = world.now
            planner = world.login(spoil=lambda draft: draft["token"].update(auth_time=world.began))
            act(world, planner)
            insider(name, expect, world)

        return run

    wait = lambda world, seconds: setattr(world, "now", world.now + seconds)
    since(later(20, end(1)), "custody")("a call after the sign-in was ended")
    since(later(2, end(1)), "")("honest after all: a call under way while the sign-in was ended")
    since(later(20, end(0)), "")("honest after all: a call after sign-ins before it were ended")
    since(later(20, end(1, owner_ref="another")), "")("honest after all: a call after another person's sign-ins were ended")
    since(later(20, end(1, outcome=("failure", "none"))), "")("honest after all: a call after an end that did not come to be")
    attacked = lambda expect, more: lambda name: insider(name, expect, undated(**more))

    def undated(**more):
        """Alice's token does not say when she signed in."""
        world, planner = signed_in()
        world.began = world.now
        later(20, end(-1000, **more))(world, planner)
        return world

    attacked("custody", {})("a call that states no time of its sign-in after one was ended")
    attacked("", {"owner_ref": "another"})("honest after all: a call that states no time of its sign-in after another person's was ended")
    copy = lambda world, planner: (end(1)(world, planner), wait(world, 20), world.again(planner, False, auth_time=world.began))
    since(copy, "custody")("a refreshed token after the sign-in was ended")
    hop = lambda world, planner: (end(1)(world, planner), wait(world, 20), world.hand("named", planner, spoil=lambda draft: draft["token"].update(auth_time=world.began)))
    since(hop, "custody")("a hop after the sign-in was ended")


def attacks():
    for part in (widened, times, proofs, people, chains, tokens, bearers, consents, uses):
        part()
