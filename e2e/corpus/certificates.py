"""Certificates on the connection, and structures in other shapes than they are written in, by an insider who has every key of the server."""

import copy
import datetime

import verify as v
import world as w
from cases import insider, signed_in, small
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

ID = "spiffe://example.org/ns/bots/planner"
SAN = x509.ObjectIdentifier("2.5.29.17")
PRIVATE, OTHER = (x509.ObjectIdentifier(f"1.3.6.1.4.1.99999.{number}") for number in (1, 2))
USES = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")


def element(tag, *parts):
    content = b"".join(parts)
    return bytes([tag, len(content)]) + content


def svid(names=(element(0x86, ID.encode()),), uses=("digital_signature",), critical=True, ca=False, more=()):
    """An X.509-SVID, unless it is spoilt. Nobody checks who signed it: the record is of what the server saw."""
    key, day = Ed25519PrivateKey.from_private_bytes(w.sha("a certificate")), lambda year: datetime.datetime(year, 1, 1)
    name = x509.Name([])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(7).public_key(key.public_key())
    made = made.not_valid_before(day(2020)).not_valid_after(day(2090))
    made = made.add_extension(x509.KeyUsage(**{use: use in uses for use in USES}), critical)
    made = made.add_extension(x509.BasicConstraints(ca, None), True)
    for oid, der in [(SAN, element(0x30, *names)), *more]:
        made = made.add_extension(x509.UnrecognizedExtension(oid, der), False)
    return made.sign(key, None).public_bytes(Encoding.DER)


def shown(der):
    """The planner gets a token on its own account with this certificate."""
    world = small()
    client = {"credentials": [{"type": "spiffe", "id": ID}]}
    for _ in range(2):  # The registration before the latest counts too.
        world.record("config_change", action=("agent.update", "admin"), ext={"config": {"agent": "agent:planner", "client": client}})

    def certificate(draft):
        draft["assertion"], draft["edge"] = None, {"kind": "client_certificate", "jws": v.b64u(der)}
        draft["facts"]["credential"] = {"kind": "spiffe_x509", "trusted_as": "example.org"}

    world.own(spoil=certificate)
    return world


def certificates():
    uri, party = element(0x86, ID.encode()), element(0xA5, element(0xA1, element(0x0C, b"x")))
    private = lambda oid: (oid, element(0x05))
    twice = svid(more=(private(PRIVATE), private(OTHER))).replace(arcs(OTHER), arcs(PRIVATE))
    for name, der in {
        "an X.509-SVID": svid(),
        "an X.509-SVID with a name of a host": svid((element(0x82, b"planner.example"), uri)),
        "an X.509-SVID with other extensions": svid(more=(private(PRIVATE), private(OTHER))),
        "an X.509-SVID with an extension that cannot be read": svid(more=((x509.ObjectIdentifier("1.3.6.1.5.5.7.1.1"), b"\x30\x7f"),)),
    }.items():
        insider(f"honest after all: {name}", "", shown(der))
    for name, der in {
        "with an ediPartyName": svid((uri, party)),
        "with an extension twice": twice,
        "with two URIs": svid((uri, uri)),
        "with no URI": svid((element(0x82, b"planner.example"),)),
        "with no names": svid(()),
        "with names that are no names": svid((b"\x86\x7f",)),
        "with a name that is no ASCII": svid((element(0x82, b"\xff"), uri)),
        "of another workload": svid((element(0x86, ID.encode() + b"2"),)),
        "that signs nothing": svid(uses=("key_agreement",)),
        "that signs certificates": svid(uses=("digital_signature", "key_cert_sign")),
        "that signs revocation lists": svid(uses=("digital_signature", "crl_sign")),
        "whose use is not critical": svid(critical=False),
        "of an authority": svid(ca=True),
        "of another version": svid().replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x07"),
        "that is cut off": svid()[:-1],
        "that is none": b"x",
    }.items():
        insider(f"a certificate {name}", "custody", shown(der))


def arcs(oid):
    """The last arcs of an OID of this file, as they stand in DER."""
    return bytes([0x86, 0x8D, 0x1F, int(oid.dotted_string.rpartition(".")[2])])


def shapes():
    """The same values in a list instead of an object."""
    listed = lambda *path: lambda draft: put(draft, path, lambda value: list(value.values()))
    for name, spoil in {
        "a hop": listed("chain", "hops", 0),
        "the parties of a hop": listed("chain", "hops", 0, "delegate"),
        "the evidence of a hop": listed("chain", "hops", 0, "edge"),
        "the root": listed("chain", "root"),
        "the chain": listed("chain"),
        "the actor": listed("token", "act"),
        "the token": listed("token"),
    }.items():
        after(f"{name} in a list", spoil)
    thumb = "x" * 43
    after("a hop with no key beside a certificate", lambda draft: draft["chain"]["hops"][0].update({"jkt": None, "x5t#S256": thumb}))
    after("a hop with no certificate beside a key", lambda draft: draft["chain"]["hops"][0].update({"x5t#S256": None}))


def put(draft, path, change):
    for step in path[:-1]:
        draft = draft[step]
    draft[path[-1]] = change(draft[path[-1]])


def after(name, spoil):
    """The values of a token as they are committed; what stands in plain is as it was."""

    def late(draft):
        parts = {"chain": copy.deepcopy(draft["chain"]), "token": copy.deepcopy(draft["token"])}
        spoil(parts)
        draft["commit"] |= {"/delegation/chain": parts["chain"], "/token/access": parts["token"]}

    world = small()
    world.login(spoil=late)
    insider(name, "custody", world)


def nameless():
    """A party without a pseudonym is not one with an empty one."""
    world, planner = signed_in()
    world.call(planner, spoil=lambda draft: draft["chain"][-1].update(subject_ref=""))
    insider("a call of a party with an empty pseudonym", "custody", world)


def attacks():
    for part in (certificates, shapes, nameless):
        part()
