"""Attacks with what had ended: agents and people that an administrator stopped, and tokens of which a copy shows plain facts only."""

import verify as v
import world as w
from cases import case, insider, sides, signed_in


def attack(name, act, expect="custody"):
    """`act(world, planner)` ends with the record that must be caught."""
    world, planner = signed_in()
    act(world, planner)
    insider(name, expect, world)


def withheld(name, act, expect="custody"):
    """The same, of which no value is with the copy."""
    world, planner = signed_in()
    act(world, planner)
    rows = world.rows
    case("insider, nothing disclosed: " + name, expect, w.files(w.sealed_entries(rows), sides(rows, closed="all")), len(rows) - 1)


def status(world, name, to, action="agent.quarantine"):
    return world.record("config_change", action=(action, "admin"), ext={"config": {"agent": f"agent:{name}", "from": "active", "to": to}})


def account(world, what, who=w.ALICE, **more):
    return world.record("config_change", action=(f"account.{what}", "admin"), ext={"account": {}}, owner_ref=w.reference(who), **more)


def later(world, seconds=20):
    world.now += seconds


def agents():
    for to in ("quarantined", "retired"):
        attack(f"a call of an agent that was {to}", lambda world, planner: (status(world, "planner", to), later(world), world.call(planner)))
        attack(f"a hop by an agent that was {to}", lambda world, planner: (status(world, "planner", to), later(world), world.hand("named", planner)))
        attack(f"a hop to an agent that was {to}", lambda world, planner: (status(world, "summarizer", to), later(world), world.hand("named", planner)))
        attack(f"a copy of an agent that was {to}", lambda world, planner: (status(world, "planner", to), later(world), world.again(planner, True)))
        attack(f"a sign-in for an agent that was {to}", lambda world, planner: (status(world, "planner", to), later(world), world.login()))
        attack(f"an own token of an agent that was {to}", lambda world, planner: (status(world, "planner", to), later(world), world.own()))
    child = lambda world, planner: (child := world.hand("named", planner), status(world, "planner", "quarantined"), later(world), world.call(child))
    attack("a call below an agent that was quarantined", child)
    registered = lambda world: world.record("config_change", action=("agent.document_changed", "admin"), ext={"config": {"agent": "agent:planner", "status": "quarantined"}})
    attack("a call of an agent that waits for an administrator", lambda world, planner: (registered(world), later(world), world.call(planner)))
    nowhere = lambda world: world.record("config_change", action=("agent.quarantine", "admin"), ext={"config": {"agent": "agent:planner", "to": "", "status": "active"}})
    attack("a call of an agent that was put into no status", lambda world, planner: (nowhere(world), later(world), world.call(planner)))
    attack("honest after all: a call under way while its agent was quarantined", lambda world, planner: (status(world, "planner", "quarantined"), world.call(planner)), "")
    attack("honest after all: a refusal after the agent was quarantined", lambda world, planner: (status(world, "planner", "quarantined"), later(world), world.call(planner, result="deny")), "")
    attack("honest after all: a call while another agent is quarantined", lambda world, planner: (status(world, "summarizer", "quarantined"), later(world), world.call(planner)), "")
    again = lambda world: (status(world, "planner", "quarantined"), later(world), status(world, "planner", "active", "agent.activate"))
    attack("honest after all: a call of an agent that was activated again", lambda world, planner: (again(world), world.call(planner)), "")


def people():
    off = lambda world: (account(world, "disable"), later(world))
    attack("a call for a person whose account was disabled", lambda world, planner: (off(world), world.call(planner)))
    attack("a hop for a person whose account was disabled", lambda world, planner: (off(world), world.hand("named", planner)))
    attack("a copy for a person whose account was disabled", lambda world, planner: (off(world), world.again(planner, False)))
    attack("a sign-in of a person whose account was disabled", lambda world, planner: (off(world), world.login()))
    attack("a call on what was handed out before the account was disabled and enabled", lambda world, planner: (off(world), account(world, "enable"), world.call(planner)))
    attack("a sign-in after the account was disabled, enabled and disabled", lambda world, planner: (off(world), account(world, "enable"), off(world), world.login()))
    attack("honest after all: a call under way while the account was disabled", lambda world, planner: (account(world, "disable"), world.call(planner)), "")
    attack("honest after all: a sign-in after the account was enabled", lambda world, planner: (off(world), account(world, "enable"), world.call(world.login())), "")
    bob = {"iss": w.ISS, "sub": "user:bob"}
    attack("honest after all: a call while another person is disabled", lambda world, planner: (account(world, "disable", bob), later(world), world.call(planner)), "")
    attack("honest after all: an attempt to disable an account that failed", lambda world, planner: (account(world, "disable", outcome=("denied", "none")), later(world), world.call(planner)), "")
    attack("honest after all: an agent on its own account while its owner is disabled", lambda world, planner: (off(world), world.call(world.own())), "")


def moments():
    for name, nondet in {
        "no time": [],
        "a time that is a text": [{"name": "now", "value": "1795321900"}],
        "a time that is none": [{"name": "now", "value": None}],
        "another input": [{"name": "random", "value": 1}],
    }.items():
        change = lambda draft: draft["decision"].update(nondet=nondet)
        attack(f"an allowed call with {name}", lambda world, planner: world.call(planner, spoil=change))
        attack(f"an intent with {name}", lambda world, planner: world.call(planner, ("refund_create", "payment"), "intent", spoil=change))
        attack(f"honest after all: a refused call with {name}", lambda world, planner: world.call(planner, spoil=change, result="deny"), "")
    attack("an allowed call whose decision has no inputs at all", lambda world, planner: world.call(planner, spoil=lambda draft: draft["decision"].pop("nondet")))


def facts():
    """Plain facts of tokens whose values are withheld."""
    revoke = lambda world, token: world.record("token", action=("revoke", "identity"), ext={"token": {"revoked": "access_token", "jti_hash": v.named_hash(token["jti"])}})
    end = lambda world, token: world.record("token", action=("revoke", "identity"), txn=token["txn"], ext={"token": {"revoked": "refresh_token"}})
    second = w.Signer("issuer two")
    key = lambda world: world.keys([second], revoked=w.ISSUER)
    signed = lambda draft: draft["facts"].update(kid=w.ISSUER.jkt)
    stated = lambda **facts: lambda draft: draft["facts"].update(facts)
    withheld("a call after the token's end", lambda world, planner: (later(world, 4000), world.call(planner)))
    withheld("a call after the token was revoked", lambda world, planner: (revoke(world, planner), later(world), world.call(planner)))
    withheld("a call after the chain was revoked", lambda world, planner: (end(world, planner), later(world), world.call(planner)))
    withheld("a call after the parent token was revoked", lambda world, planner: (child := world.hand("named", planner), revoke(world, planner), later(world), world.call(child)))
    withheld("a call after a token two above was revoked", lambda world, planner: (child := world.hand("named", world.again(planner, True)), revoke(world, planner), later(world), world.call(child)))
    withheld("a call after the key was revoked", lambda world, planner: (token := world.again(planner, True, signed), key(world), later(world), world.call(token)))
    withheld("a call after the key of the parent token was revoked", lambda world, planner: (token := world.hand("named", world.again(planner, True, signed)), key(world), later(world), world.call(token)))
    withheld("a call without a time", lambda world, planner: world.call(planner, spoil=lambda draft: draft["decision"].pop("nondet")))
    withheld("a call for a person whose account was disabled", lambda world, planner: (account(world, "disable"), later(world), world.call(planner)))
    withheld("a sign-in of a person whose account was disabled", lambda world, planner: (account(world, "disable"), later(world), world.login()))
    withheld("a hop after the chain was revoked", lambda world, planner: (end(world, planner), later(world), world.hand("named", planner)))
    withheld("a hop after the parent token was revoked", lambda world, planner: (revoke(world, planner), later(world), world.hand("named", planner)))
    withheld("a token by a key that was revoked before", lambda world, planner: (key(world), later(world), world.again(planner, True, signed)))
    withheld("a token whose parent nobody issued", lambda world, planner: world.hand("named", planner, stated(parent_jti_hash=v.named_hash("x"))))
    withheld("a token whose parent is of another chain", lambda world, planner: world.hand("named", planner, stated(parent_jti_hash=v.named_hash(world.login()["jti"]))))
    withheld("a token that is its own parent", lambda world, planner: world.hand("named", planner, lambda d: d["facts"].update(parent_jti_hash=v.named_hash(d["token"]["jti"]))))
    withheld("a token that outlives its parent", lambda world, planner: world.hand("named", planner, stated(expires=planner["exp"] + 1)))
    withheld("honest after all: every way to hand on", lambda world, planner: [world.call(world.hand(way, planner)) for way in ("named", "unstated", "statement", "call")], "")
    withheld("honest after all: a call under way while its token was revoked", lambda world, planner: (revoke(world, planner), world.call(planner)), "")
    withheld("honest after all: a call with a token of the key that stays", lambda world, planner: (token := world.again(planner, True, lambda d: d["facts"].update(kid=second.jkt)), key(world), later(world), world.call(token)), "")
    withheld("honest after all: a sibling's token was revoked", lambda world, planner: (revoke(world, world.hand("named", planner)), later(world), world.call(planner)), "")
    attack("a record that states another parent than its token", lambda world, planner: world.hand("named", planner, stated(parent_jti_hash=v.named_hash(world.login()["jti"]))))
    attack("a record that states a parent of a token that has none", lambda world, planner: world.login(stated(parent_jti_hash=v.named_hash(planner["jti"]))))


def attacks():
    for part in (agents, people, moments, facts):
        part()
