"""Attacks on the signature of a person at the root of a chain, by an insider who has every key of the server, but no passkey."""

import copy
import json

import verify as v
import world as w
from cases import insider, small
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

SITE = "remit.example"
PAGE = "<h1>Let planner act for you?</h1>"
BOB = {"iss": w.ISS, "sub": "user:bob"}


class Passkey:
    """An authenticator in software; each of its answers can be told to lie."""

    def __init__(self, name, counter=1):
        self.signer, self.id, self.counter = w.Signer("passkey " + name), v.b64u(w.sha("credential " + name)[:16]), counter

    def __deepcopy__(self, memo):
        return self

    def sign(self, message):
        if not self.signer.es256:
            return self.signer.key.sign(message)
        return self.signer.key.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))

    def answer(self, challenge, site=SITE, origin=w.ISS, flags=5, counter=None, kind="webauthn.get", more=b"", **client):
        if counter is None:
            self.counter += 1 if self.counter else 0
            counter = self.counter
        data = w.sha(site) + bytes([flags]) + counter.to_bytes(4, "big") + more
        stated = {"type": kind, "challenge": v.b64u(challenge), "origin": origin, "crossOrigin": False} | client
        said = json.dumps({name: value for name, value in stated.items() if value is not None}).encode()
        return {"credential": self.id, "authenticator_data": v.b64u(data), "client_data": v.b64u(said), "signature": v.b64u(self.sign(data + w.sha(said)))}


def enrol(world, passkey, who=w.ALICE, **changes):
    stated = {"id": passkey.id, "key": passkey.signer.jwk, "counter": 1 if passkey.counter else 0} | changes
    facts = {"event": "enrolled", "credential": v.named_hash(passkey.id)}
    return world.record("config_change", action=("authorize", "identity"), chain=[w.party(who, "human")], ext={"passkey": facts}, commit={"/passkey/credential": stated})


def remove(world, passkey):
    return world.record("config_change", action=("passkey.remove", "admin"), ext={"passkey": {"event": "removed", "credential": v.named_hash(passkey.id)}})


def document(world, details=w.BROAD, life=3600, **changes):
    stated = {"type": "remit.consent.v1", "issuer": w.ISS, "person": "user:alice", "agent": "agent:planner", "redirect_uri": "https://app.example/cb",
              "authority": details, "until": world.now + 2 * life, "purpose": "Close ticket T-1", "page": v.named_hash(PAGE), "nonce": world.fresh("nonce")} | changes  # fmt: skip
    return {name: value for name, value in stated.items() if value is not None}


def approve(world, passkey, stated, who=w.ALICE, spoil=None, signed=None, page=PAGE, facts=None, **lies):
    """The record of a signed consent."""
    answer = passkey.answer(w.sha(v.canonical(stated if signed is None else signed)), **lies)
    draft = {"evidence": {"document": copy.deepcopy(stated), "assertion": answer}, "digest": v.digest(stated), "page": page}
    if spoil:
        spoil(draft)
    commit = {"/approval/signature": draft["evidence"], "/approval/page": draft["page"]}
    world.record("approval", action=("authorize", "identity"), chain=[w.party(who, "human")], ext={"token": {"root_signature": draft["digest"]} | (facts or {})}, commit=commit)
    return draft["digest"]


def redeem(world, digest, stated, spoil=None, token=None, **more):
    """The first token, which states the signature."""

    def both(draft):
        draft["chain"]["hops"][0]["signed"] = digest
        draft["chain"]["hops"][0]["expires"] = stated["until"]
        draft["token"]["urn:remit:signed"] = digest if token is None else token
        if spoil:
            spoil(draft)

    consent = {"agent": "agent:planner", "authority": more.get("details", w.BROAD), "until": stated["until"], "purpose": "Close ticket T-1"}
    return world.login(both, **{"urn:remit:consent": v.digest(consent)}, **more)


def attack(name, act, expect="custody", keys=("alice", "bob")):
    """`act(world, alice's passkey, bob's)` ends with the record that must be caught."""
    world = small()
    alice, bob = (Passkey(one) for one in keys)
    enrol(world, alice)
    enrol(world, bob, BOB)
    act(world, alice, bob)
    insider(name, expect, world)


def signed(change=None, **lies):
    """A consent of which the approval itself must be caught."""

    def act(world, alice, bob):
        stated = document(world)
        approve(world, alice, stated, spoil=(lambda draft: change(draft, world)) if change else None, **lies)

    return act


def honest():
    def whole(world, alice, bob):
        stated = document(world)
        planner = redeem(world, approve(world, alice, stated), stated)
        facts = lambda draft: draft["token"].update({"urn:remit:signed": planner["urn:remit:signed"]})
        world.again(planner, True, facts)
        world.hand("named", planner, facts)

    for name in ("alice", "alice-es256"):
        attack(f"honest after all: a signed root ({name})", whole, "", (name, "bob"))
    attack("honest after all: a passkey that does not count", lambda world, alice, bob: [approve(world, alice, document(world)) for _ in range(2)], "", ("alice", "bob"))

    def uncounted(world, alice, bob):
        still = Passkey("still", 0)
        enrol(world, still)
        for _ in range(2):
            approve(world, still, document(world), counter=0)

    attack("honest after all: a counter that stays at nothing", uncounted, "")
    attack("honest after all: a passkey on all devices", signed(flags=0x1D), "")
    attack("honest after all: extensions that were announced", signed(flags=0x85, more=b"\xa0"), "")
    attack("honest after all: client data with members of a later browser", signed(other_keys_can_be_added_here="x"), "")
    attack("honest after all: no word of the page's frame", signed(crossOrigin=None), "")

    def redeemed_later(world, alice, bob):
        first, second = document(world), document(world)
        one, two = approve(world, alice, first), approve(world, alice, second)
        redeem(world, two, second)
        redeem(world, one, first)

    attack("honest after all: two consents redeemed the other way round", redeemed_later, "")


def answers():
    for name, lies in {
        "of another site's page": {"origin": "https://evil.example"},
        "of the same site without TLS": {"origin": "http://remit.example"},
        "of the same site at another port": {"origin": w.ISS + ":8443"},
        "of another site's passkey": {"site": "evil.example"},
        "of a site that only ends the same": {"site": "example"},
        "from inside another page": {"crossOrigin": True},
        "that names a page around it": {"topOrigin": w.ISS},
        "with no one present": {"flags": 4},
        "with no one verified": {"flags": 1},
        "with no flag at all": {"flags": 0},
        "of a copy that cannot be one": {"flags": 0x15},
        "that states a new passkey": {"flags": 0x45},
        "with bytes that nothing announces": {"more": b"\x00"},
        "with extensions that are not there": {"flags": 0x85},
        "for making a passkey": {"kind": "webauthn.create"},
        "whose counter went back": {"counter": 0},
        "whose counter stands still": {"counter": 1},
        "over client data without an origin": {"origin": None},
    }.items():
        attack(f"an answer {name}", signed(**lies))
    other = lambda draft, world: draft["evidence"]["assertion"].update(Passkey("alice").answer(b"\x00" * 32))
    attack("an answer to another challenge", signed(other))
    for member in ("authenticator_data", "client_data", "signature"):
        turn = lambda draft, world, member=member: draft["evidence"]["assertion"].update({member: turned(draft["evidence"]["assertion"][member])})
        attack(f"an answer with one bit of its {member} turned", signed(turn))
        cut = lambda draft, world, member=member: draft["evidence"]["assertion"].update({member: draft["evidence"]["assertion"][member][:-4]})
        attack(f"an answer with its {member} cut short", signed(cut))
        gone = lambda draft, world, member=member: draft["evidence"]["assertion"].pop(member)
        attack(f"an answer without its {member}", signed(gone))
        padded = lambda draft, world, member=member: draft["evidence"]["assertion"].update({member: draft["evidence"]["assertion"][member] + "=="})
        attack(f"an answer with its {member} padded", signed(padded))
    attack("an answer with a member more", signed(lambda draft, world: draft["evidence"]["assertion"].update(x="y")))
    attack("evidence with a member more", signed(lambda draft, world: draft["evidence"].update(x="y")))
    attack("client data that names its origin twice", lambda world, alice, bob: approve(world, alice, document(world), spoil=twice(alice)))

    def raw(world, alice, bob):
        # ECDSA as JOSE writes it, not as authenticators do.
        stated = document(world)
        approve(world, alice, stated, spoil=lambda draft: rewritten(alice, draft["evidence"]["assertion"]))

    attack("an ECDSA signature of fixed length", raw, keys=("alice-es256", "bob"))


def turned(text):
    return text[:5] + ("A" if text[5] != "A" else "B") + text[6:]


def twice(passkey):
    def spoil(draft):
        answer = draft["evidence"]["assertion"]
        client = v.unb64u(answer["client_data"])[:-1] + b', "origin": "https://remit.example"}'
        data = v.unb64u(answer["authenticator_data"])
        answer |= {"client_data": v.b64u(client), "signature": v.b64u(passkey.sign(data + w.sha(client)))}

    return spoil


def rewritten(passkey, answer):
    message = v.unb64u(answer["authenticator_data"]) + w.sha(v.unb64u(answer["client_data"]))
    answer["signature"] = v.b64u(passkey.signer.sign(message))


def keys():
    def another(world, alice, bob):
        approve(world, bob, document(world))

    attack("a consent signed by another person's passkey", another)
    attack("a consent of another person", lambda world, alice, bob: approve(world, alice, document(world, person="user:bob"), BOB))
    attack("a consent whose record names another person", lambda world, alice, bob: approve(world, alice, document(world), BOB))
    attack("a passkey that was never enrolled", lambda world, alice, bob: approve(world, Passkey("carol"), document(world)))
    attack("a passkey that was removed", lambda world, alice, bob: (remove(world, alice), approve(world, alice, document(world))))
    attack("a credential enrolled a second time", lambda world, alice, bob: enrol(world, alice, BOB))
    attack("a credential that comes back", lambda world, alice, bob: (remove(world, alice), enrol(world, alice)))
    attack("an enrolment of another credential than it names", lambda world, alice, bob: enrol(world, Passkey("carol"), id=bob.id))
    attack("an enrolment with a private key", lambda world, alice, bob: enrol(world, Passkey("carol"), key=w.Signer("x").jwk | {"d": "x"}))
    attack("an enrolment with a counter that is none", lambda world, alice, bob: enrol(world, Passkey("carol"), counter=-1))

    def swapped(world, alice, bob):
        # The server puts its own key in the place of the person's.
        mine = Passkey("carol")
        mine.id = alice.id
        enrol(world, mine)

    attack("a key put in the place of the person's", swapped)

    def copied(world, alice, bob):
        approve(world, alice, document(world))
        approve(world, alice, document(world), counter=alice.counter)

    attack("a passkey that counts twice the same", copied)


def documents():
    def changed(**changes):
        def act(world, alice, bob):
            stated = document(world)
            approve(world, alice, stated | changes, signed=stated)

        return act

    wider = copy.deepcopy(w.BROAD)
    wider[0]["actions"] = ["*"]
    for name, changes in {
        "authority": {"authority": wider}, "agent": {"agent": "agent:summarizer"}, "end": {"until": w.BEGIN + 10**6}, "purpose": {"purpose": "Pay it"},
        "person": {"person": "user:bob"}, "page": {"page": v.named_hash("x")}, "redirect": {"redirect_uri": "https://evil.example/"},
        "nonce": {"nonce": "x"}, "issuer": {"issuer": "https://evil.example"},
    }.items():  # fmt: skip
        attack(f"a document whose {name} was changed after it was signed", changed(**changes))
    attack("a page that was not the one", signed(page=PAGE + "x"))
    attack("a page that is no text", signed(page=7))
    attack("a record that names another document", signed(lambda draft, world: draft.update(digest=v.named_hash("x"))))
    attack("an issuer that has no passkeys", lambda world, alice, bob: approve(world, alice, document(world, issuer="http://127.0.0.1:8420")))

    def again(world, alice, bob):
        stated = document(world)
        approve(world, alice, stated)
        approve(world, alice, stated)

    attack("the same consent signed twice", again)


def roots():
    def differs(name, spoil=None, changes=None, **more):
        def act(world, alice, bob):
            stated = document(world, **(changes or {}))
            redeem(world, approve(world, alice, stated), document(world) | {"until": stated["until"]}, spoil, **more)

        attack(f"a delegation of another {name} than was signed", act)

    narrow = copy.deepcopy(w.BROAD)
    narrow[0]["arguments"] = {"/amount": {"max": 5}}
    differs("authority", changes={"authority": narrow})
    differs("agent", changes={"agent": "agent:summarizer"})
    differs("purpose", changes={"purpose": None})
    differs("kind", changes={"type": "remit.consent.v2"})
    differs("form", changes={"more": "x"})

    def later(world, alice, bob):
        stated = document(world)
        redeem(world, approve(world, alice, stated), stated | {"until": stated["until"] + 1})

    attack("a delegation of another end than was signed", later)

    def unsigned(world, alice, bob):
        redeem(world, v.named_hash("x"), document(world))

    attack("a delegation that says it was signed and was not", unsigned)

    def reused(world, alice, bob):
        stated = document(world)
        digest = approve(world, alice, stated)
        redeem(world, digest, stated)
        redeem(world, digest, stated)

    attack("one signature under two delegations", reused)

    def before(world, alice, bob):
        stated = document(world)
        redeem(world, v.digest(stated), stated)

    attack("a delegation before its signature", before)

    def claim(world, alice, bob, token):
        stated = document(world)
        redeem(world, approve(world, alice, stated), stated, token=token)

    attack("a token that states another signature than its chain", lambda world, alice, bob: claim(world, alice, bob, v.named_hash("x")))
    attack("a token that says it is signed while its chain is not", lambda world, alice, bob: world.login(lambda draft: draft["token"].update({"urn:remit:signed": v.named_hash("x")})))

    def grafted(world, alice, bob):
        # A later hop claims the signature for itself.
        planner = world.login()
        digest = approve(world, alice, document(world))
        world.hand("named", planner, lambda draft: draft["chain"]["hops"][-1].update(signed=digest))

    attack("a later hop that claims a signature", grafted)

    def taken_off(world, alice, bob):
        stated = document(world)
        planner = redeem(world, approve(world, alice, stated), stated)
        world.again(planner, True, lambda draft: (draft["chain"]["hops"][0].pop("signed"), draft["token"].pop("urn:remit:signed", None)))

    attack("a copy that lost the signature of its root", taken_off)


def attacks():
    for part in (honest, answers, keys, documents, roots):
        part()
