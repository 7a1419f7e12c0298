"""A small world that writes ledgers from docs/ledger-format.md and docs/custody-format.md: honest ones, and forged ones that
only somebody with the keys could make. Everything is counted or derived from names, so equal worlds write equal bytes."""

import base64
import copy
import hashlib
import json
import pathlib

import verify as v
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

ISS = "https://remit.example"
HELPDESK = ISS + "/mcp/helpdesk"
ENDPOINT = "https://summarizer.example/tasks"
ORIGIN = "remit.example/main"
PRODUCER = "spiffe://remit.example/node/main"
BEGIN = 1_795_321_800
POLICIES, SCHEMA = b"permit(principal, action, resource);", b"entity Party;"

BROAD = [
    {"type": "tool_access", "locations": [HELPDESK], "actions": ["refund_create", "tickets_read"], "arguments": {"/amount": {"max": 50}},
     "delegate": {"to": ["agent:summarizer"], "depth": 1}}
]  # fmt: skip
NARROW = [
    {"type": "tool_access", "locations": [HELPDESK], "actions": ["tickets_read"], "arguments": {"/amount": {"max": 50}},
     "fields": ["/id", "/subject"]}
]  # fmt: skip


def sha(text):
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).digest()


class Signer:
    """A private key made from its name: Ed25519, or ES256 when the name ends in `-es256`."""

    def __init__(self, name):
        self.es256 = name.endswith("-es256")
        if self.es256:
            self.key = ec.derive_private_key(int.from_bytes(sha(name), "big") % (2**255), ec.SECP256R1())
            numbers = self.key.public_key().public_numbers()
            x, y = (v.b64u(number.to_bytes(32, "big")) for number in (numbers.x, numbers.y))
            self.jwk, self.alg = {"kty": "EC", "crv": "P-256", "x": x, "y": y}, "ES256"
        else:
            self.key = Ed25519PrivateKey.from_private_bytes(sha(name))
            self.public = self.key.public_key().public_bytes_raw()
            self.jwk, self.alg = {"kty": "OKP", "crv": "Ed25519", "x": v.b64u(self.public)}, "Ed25519"
        self.jkt = v.b64u(sha(v.canonical(self.jwk)))

    def sign(self, message):
        if not self.es256:
            return self.key.sign(message)
        der = self.key.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
        return b"".join(number.to_bytes(32, "big") for number in utils.decode_dss_signature(der))

    def jws(self, typ, claims, embed=False, **header):
        head = {"alg": self.alg, "typ": typ} | ({"jwk": self.jwk} if embed else {"kid": self.jkt}) | header
        head = {name: value for name, value in head.items() if value is not None}
        signed = ".".join(v.b64u(json.dumps(part).encode()) for part in (head, claims))
        return f"{signed}.{v.b64u(self.sign(signed.encode()))}"

    def vkey(self, name, kind=1):
        typed = bytes([kind]) + self.public
        ident = sha(name.encode() + b"\n" + typed)[:4]
        return f"{name}+{ident.hex()}+{base64.b64encode(typed).decode()}"


def note(text, signer, name=ORIGIN):
    blob = bytes.fromhex(signer.vkey(name).split("+")[1]) + signer.sign(text.encode())
    return f"{text}\n\u2014 {name} {base64.b64encode(blob).decode()}\n".encode()


RECORD, LOG, ISSUER = Signer("record"), Signer("log"), Signer("issuer")
VKEY = LOG.vkey(ORIGIN)


def dpop(agent):
    return Signer("dpop " + agent + ("-es256" if agent == "summarizer" else ""))


def agent(name):
    return {"iss": ISS, "sub": f"agent:{name}"}


ALICE = {"iss": ISS, "sub": "user:alice"}


class Row:
    """A record before it is sealed, and what it commits to."""

    def __init__(self, record, fields, decoys):
        self.record, self.fields, self.decoys, self.raw = record, fields, decoys, None

    def leaf(self, path):
        salt, kind, value = self.fields[path]
        return v.leaf_hash(v.canonical([salt, path, kind, value]))

    def leaves(self):
        return [self.leaf(path) for path in sorted(self.fields, key=str.encode)] + self.decoys

    def commit(self):
        """States the commitment, and what else is bound by it."""
        leaf = lambda path, nothing: v.hash_text(self.leaf(path)) if path in self.fields else nothing
        self.record["commit"] |= {"root": v.hash_text(v.Tree(self.leaves()).root()), "count_padded": len(self.leaves())}
        self.record["request"]["hash"] = leaf("/call/arguments", v.NOTHING)
        self.record["response"]["hash"] = leaf("/response/body", v.NOTHING)
        if "/decision/input" in self.fields:
            self.record["decision"]["input_hash"] = leaf("/decision/input", None)

    def set(self, path, value):
        kind = {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}.get(type(value), "number")
        self.fields[path] = (self.fields.get(path, ("c2FsdC1vZi0xNi1ieXRl",))[0], kind, value)

    def side(self, index, closed=(), sealed=None):
        fields = {}
        for path, (salt, kind, value) in self.fields.items():
            opening = {"salt": salt, "type": kind, "value": value}
            if path in closed or closed == "all":
                opening = {"leaf": v.hash_text(self.leaf(path))}
            elif sealed is not None:
                opening = seal(opening, self.record["record_id"], path, self.leaf(path), sealed)
            fields[path] = opening
        return v.canonical({"decoys": [v.hash_text(decoy) for decoy in self.decoys], "fields": fields, "index": str(index)})


def seal(opening, record_id, path, leaf, keys):
    names = sorted(keys)
    info = b"\x00".join([b"agent.audit.v1 side", record_id.encode(), path.encode()])
    key = HKDF(hashes.SHA256(), 32, None, info).derive(b"".join(keys[name] for name in names))
    nonce = sha(record_id + path)[:12]
    blob = nonce + AESGCM(key).encrypt(nonce, v.canonical(opening), leaf)
    return {"keys": names, "leaf": v.hash_text(leaf), "sealed": v.b64u(blob)}


class World:
    """Writes records as the server does: who signs in, hands on, calls, revokes."""

    def __init__(self):
        self.rows, self.now, self.drawn, self.epoch, self.seq, self.signer = [], BEGIN, 0, 1, 0, RECORD
        self.start()

    def draw(self, count=16):
        self.drawn += 1
        return (sha(f"draw {self.drawn}") * 2)[:count]

    def fresh(self, what):
        self.drawn += 1
        return f"{what}-{self.drawn}"

    def record(self, kind, producer="authz_server", action=("token", "identity"), chain=None, commit=None, decision=None,
               outcome=("success", "observed"), ext=None, resource=(), txn=None, **more):  # fmt: skip
        self.now += 1
        ns = self.now * 10**9 + 123_456_789
        node, ms = sha(PRODUCER).hex(), ns // 10**6
        ident = f"{ms:012x}7{self.draw().hex()[:3]}a{self.draw().hex()[:15]}"
        ident = "-".join([ident[:8], ident[8:12], ident[12:16], ident[16:20], ident[20:]])
        parties = chain or [party({"iss": PRODUCER, "sub": PRODUCER}, "service")]
        values = dict(commit or {})
        for at, one in enumerate(parties):
            values[f"/chain/{at}/subject"] = one.pop("subject")
            edge = one.pop("edge", None)
            if edge is not None:
                values[f"/chain/{at}/edge"] = edge
            if at:
                one["edge_proof"] = None if edge is None else v.named_hash(edge["jws"])
        record = {
            "schema": "agent.audit.v1", "record_id": ident, "record_type": kind, "tenant_id": "main", "env": "prod",
            "producer": {"id": PRODUCER, "kind": producer, "version": "0.1.0", "build_digest": v.named_hash("build"), "epoch": str(self.epoch)},
            "seq": str(self.seq), "prev_hash": v.ZERO, "chain_uid": "chain:" + node[:32],
            "time": {"wall": v.rfc3339_ns(ns), "wall_ns": str(ns), "error_bound_ns": "1500000", "clock_status": "synchronized", "source": "ntp",
                     "mono_ns": str(ns - BEGIN * 10**9), "boot_id": "00000000-0000-4000-8000-000000000001", "hlc": f"{ms}.0.{node[:8]}"},
            "chain": parties, "chain_depth": len(parties), "owner_ref": reference(ALICE), "protocol": "mcp" if producer == "gateway" else "http",
            "action": {"name": action[0], "class": action[1]}, "resource": list(resource), "request": {}, "response": {},
            "human_in_loop": "none", "outcome": {"status": outcome[0], "effect_confirmed": outcome[1]}, "commit": {},
            "retention": {"class": "standard", "not_before_delete": v.rfc3339_ns(ns + 400 * 86_400 * 10**9), "legal_hold": False},
        }  # fmt: skip
        record |= {name: value for name, value in {"decision": decision, "ext": ext, "txn": txn, **more}.items() if value is not None}
        fields = {}
        row = Row(record, fields, [])
        for path, value in values.items():
            fields[path] = (v.b64u(self.draw()), "", None)
            row.set(path, value)
        padded = 1
        while padded < max(1, len(fields)):
            padded *= 2
        row.decoys = [self.draw(32) for _ in range(padded - len(fields))]
        row.commit()
        self.rows.append(row)
        self.seq += 1
        return len(self.rows) - 1

    def start(self, signer=None, issuer=ISSUER):
        self.signer = signer or self.signer
        keys = {"record": self.signer.jwk | {"kid": self.signer.jkt}, "log": VKEY, "issuer": {"keys": [issuer.jwk | {"kid": issuer.jkt, "alg": issuer.alg, "use": "sig"}]}}
        return self.record("log_control", action=("start", "admin"), ext={"keys": keys})

    def restart(self, **more):
        self.record("log_control", action=("stop", "admin"))
        self.epoch, self.seq = self.epoch + 1, 0
        return self.start(**more)

    def keys(self, published, until=None, revoked=None):
        """The issuer's keys change: those that are accepted from here on, and until when."""
        jwks = {"keys": [key.jwk | {"kid": key.jkt, "alg": key.alg, "use": "sig"} for key in published]}
        stated = {"issuer": jwks, "issuer_until": {key.jkt: str(end) for key, end in (until or {}).items()}}
        stated |= {"revoked": revoked.jkt} if revoked else {}
        return self.record("config_change", action=("keys.revoke" if revoked else "keys.rotate", "admin"), ext={"keys": stated})

    def register(self, name, key=None, extra=()):
        keys = [(key or Signer("client " + name)).jwk, *extra]
        return self.record("config_change", action=("agent.add", "admin"), ext={"config": {"agent": f"agent:{name}", "keys": keys}})

    def bind(self, name, binding):
        """What the agent's tokens are bound to from now on."""
        return self.record("config_change", action=("agent.update", "admin"), ext={"config": {"agent": f"agent:{name}", "client": {"binding": binding}}})

    def issue(self, kind, chain, details, jti, exp, parent=None, spoil=None, facts=None, assertion=None, **claims):
        """The record of a token; `spoil` may change everything about it before it is written."""
        holder = (chain["hops"][-1]["delegate"] if chain["hops"] else chain["root"])["sub"].split(":")[1]
        act = None
        for hop in chain["hops"]:
            act = dict(hop["delegate"], sub_profile="ai_agent") | ({} if act is None else {"act": act})
        token = {"iss": ISS, "sub": chain["root"]["sub"], "aud": HELPDESK, "jti": jti, "iat": self.now, "exp": exp,
                 "cnf": {"jkt": dpop(holder).jkt}, "act": act, "authorization_details": details, "txn": chain["id"],
                 "urn:remit:ancestors": [parent["jti"], *parent["urn:remit:ancestors"]] if parent else []} | claims  # fmt: skip
        draft = {"kind": kind, "chain": copy.deepcopy(chain), "token": copy.deepcopy(token), "facts": facts or {}, "assertion": assertion, "plain": None, "binding": None, "commit": {}, "edge": None}
        if spoil:
            spoil(draft)
        chain, token = draft["chain"], draft["token"]
        parties = [party(chain["root"], "human" if chain["root"]["sub"].startswith("user:") else "agent")]
        if draft["assertion"]:
            parties[0]["edge"] = {"kind": "client_assertion", "jws": draft["assertion"]}
        if draft["edge"]:
            parties[0]["edge"] = draft["edge"]
        for hop in chain["hops"]:
            parties.append(party(hop["delegate"], "agent", jkt=hop.get("jkt")) | {"edge": hop["edge"]})
        jkt = (token["cnf"] or {}).get("jkt")
        if jkt:
            parties[-1]["cnf"] = {"jkt": jkt}
        if draft["binding"]:
            parties[-1]["token"] = {"binding": draft["binding"]}
        facts = {"jti_hash": v.named_hash(token["jti"]), "audience": token["aud"], "scope": "helpdesk:tickets_read", "expires": token["exp"],
                 "authority_digest": v.digest(token["authorization_details"])}  # fmt: skip
        facts |= ({"parent_jti_hash": v.named_hash(token["urn:remit:ancestors"][0])} if token["urn:remit:ancestors"] else {}) | draft["facts"]
        index = self.record(draft["kind"], chain=parties, txn=chain["id"], ext={"token": facts},
                            commit={"/delegation/chain": chain, "/token/access": token} | draft["commit"], decision={"id": "d", "result": "allow"})  # fmt: skip
        if draft["plain"]:
            draft["plain"](self.rows[index])
        return {"chain": chain, "index": index, **token}

    def login(self, spoil=None, sign=None, details=BROAD, life=3600, **id_claims):
        """Alice signs in and agrees; the planner gets its first token."""
        hop = {"delegator": ALICE, "delegate": agent("planner"), "jkt": dpop("planner").jkt, "authority": details,
               "purpose": "Close ticket T-1", "expires": self.now + 2 * life, "jti": self.fresh("jti")}  # fmt: skip
        consent = {"agent": "agent:planner", "authority": hop["authority"], "until": hop["expires"], "purpose": hop["purpose"]}
        claims = {"iss": ISS, "sub": "user:alice", "aud": "agent:planner", "iat": self.now, "exp": self.now + 300, "urn:remit:consent": v.digest(consent)}
        claims = {name: value for name, value in (claims | id_claims).items() if value is not None}
        if claims.get("jti") == "own":
            claims["jti"] = hop["jti"]
        jws = (sign or (lambda claims: ISSUER.jws("JWT", claims)))(claims)
        chain = {"id": self.fresh("txn"), "root": ALICE, "hops": [hop | {"edge": {"kind": "id_token", "jws": jws}}]}
        return self.issue("delegation", chain, details, hop["jti"], self.now + life, spoil=spoil)

    def own(self, name="planner", spoil=None, key=None, **claims):
        """An agent on its own account."""
        subject = f"agent:{name}"
        stated = {"iss": subject, "sub": subject, "aud": ISS, "jti": self.fresh("a"), "iat": self.now, "exp": self.now + 60} | claims
        assertion = (key or Signer("client " + name)).jws("client-authentication+jwt", stated)
        chain = {"id": self.fresh("txn"), "root": agent(name), "hops": []}
        return self.issue("token", chain, BROAD, self.fresh("jti"), self.now + 3600, spoil=spoil, assertion=assertion)

    def hand(self, way, parent, spoil=None, signer=None, details=NARROW, header=None, typ=None, life=60, to="summarizer", stated=None, **claims):
        """The parent hands a part on. `stated` changes what the delegator signs, `claims` the claims around it."""
        if way == "call" and parent["aud"] != ENDPOINT:
            parent = self.again(parent, True, aud=ENDPOINT)
        holder = (parent["chain"]["hops"][-1]["delegate"] if parent["chain"]["hops"] else parent["chain"]["root"])["sub"]
        key, jti = signer or dpop(holder.split(":")[1]), self.fresh("jti")
        expires, subject = parent["exp"] - life, f"token {parent['jti']}"
        delegation = {"sub": f"agent:{to}", "cnf": {"jkt": dpop(to).jkt}, "parent": parent["jti"], "exp": expires, "authorization_details": details}
        delegation |= stated or {}
        proof = {"jti": self.fresh("proof"), "iat": self.now, "htm": "POST", "htu": ISS + "/oauth/token"}
        if way == "named":
            kind, typ_, body = "dpop_at_token", "dpop+jwt", proof | {"urn:remit:delegation": delegation}
        elif way == "unstated":
            kind, typ_, body = "dpop_at_token", "dpop+jwt", proof
        elif way == "statement":
            kind, typ_, body = "statement", "delegation+jwt", {"iss": holder, "aud": ISS, "jti": proof["jti"], "iat": self.now} | delegation
        else:
            kind, typ_, body = "dpop_at_call", "dpop+jwt", proof | {"htu": ENDPOINT, "ath": v.b64u(sha(subject))}
        body = {name: value for name, value in (body | claims).items() if value is not None}
        jws = key.jws(typ or typ_, body, embed=True, **(header or {}))
        hop = {"delegator": {"iss": ISS, "sub": holder}, "delegate": agent(to), "jkt": dpop(to).jkt, "authority": details,
               "purpose": None, "expires": expires, "jti": jti, "edge": {"kind": kind, "jws": jws}}  # fmt: skip
        chain = dict(parent["chain"], hops=[*parent["chain"]["hops"], hop])
        return self.issue("delegation", chain, details, jti, expires, parent, spoil, {"subject_token_hash": v.named_hash(subject)})

    def again(self, of, narrowed, spoil=None, details=None, **claims):
        """The same holder gets another token: a narrower copy of the one it has, or a refreshed one."""
        details = of["authorization_details"] if details is None else details
        return self.issue("token", of["chain"], details, self.fresh("jti"), of["exp"] - 1, of if narrowed else None, spoil, **claims)

    def call(self, token, action=("tickets_read", "read"), kind="decision", spoil=None, result="allow", **more):
        """A call at the gateway."""
        chain = token["chain"]
        parties = [party(one, "agent") for one in [chain["root"], *[hop["delegate"] for hop in chain["hops"]]]]
        parties[0]["kind"] = "human" if chain["root"]["sub"].startswith("user:") else "agent"
        last = parties[-1]
        last["token"] = {"jti_hash": v.named_hash(token["jti"]), "aud": [HELPDESK]}
        if token["cnf"]:
            last["cnf"] = {"jkt": token["cnf"]["jkt"], "proof_hash": v.named_hash("a proof")}
        else:
            last["token"]["binding"] = "danger_bearer"
        decision = {"id": "d", "result": result, "reason_code": "policy", "policies": [{"id": "p", "version": "1", "effect": "permit", "digest": v.named_hash("p")}],
                    "policy_set_digest": v.hash_text(sha(POLICIES)), "schema_digest": v.hash_text(sha(SCHEMA)),
                    "engine": {"name": "cedar", "version": "4.14"}, "nondet": [{"name": "now", "value": self.now}]}  # fmt: skip
        resource = [{"type": "mcp.tool", "classification": "internal", "id_ref": v.b64u(sha("tool")), "fields": ["/id"]}]
        draft = {"chain": parties, "decision": decision, "txn": chain["id"], "resource": resource}
        if spoil:
            spoil(draft)
        question = {"action": action[0], "arguments": {"id": "T-1", "amount": 5}}
        commit = {"/decision/input": question, "/call/arguments": question["arguments"], "/response/body": {"id": "T-1"}}
        return self.record(kind, "gateway", action, commit=commit, tool={"server_id": "helpdesk", "name": action[0]},
                           mcp={"method": "tools/call", "request_id": "1"}, **draft, **more)  # fmt: skip

    def id(self, index):
        return self.rows[index].record["record_id"]


def reference(who):
    return v.b64u(sha(f"ref {who['iss']} {who['sub']}"))


def party(who, kind, jkt=None):
    node = {"kind": kind, "subject_ref": reference(who), "issuer": who["iss"], "auth": {"method": "none"}, "subject": dict(who),
            "grant": {"id": "g", "type": "token_exchange", "parent_jti_hash": None}}  # fmt: skip
    return node | ({"cnf": {"jkt": jkt}} if jkt else {})


def sealed_entries(rows, since=0, signer=None):
    """Entries with hashes, predecessors and signatures in place from record `since` on."""
    previous, key = {}, signer or RECORD
    for index, row in enumerate(rows):
        record = row.record
        if record["record_type"] == "log_control" and record["action"]["name"] == "start" and signer is None:
            key = SIGNERS.get(record["ext"]["keys"]["record"]["x"], key)
        if index >= since:
            record["prev_hash"] = previous.get(record["producer"]["id"], v.ZERO)
            sign(record, key)
        previous[record["producer"]["id"]] = record["record_hash"]
    return [row.raw or v.canonical(row.record) for row in rows]


SIGNERS = {one.jwk["x"]: one for one in (RECORD, Signer("record two"))}


def sign(record, key=RECORD):
    record["record_hash"] = v.digest({name: value for name, value in record.items() if name not in ("record_hash", "sigs", "log")})
    value = v.b64u(key.sign(f"agent.audit.v1 record\n{record['record_hash']}".encode()))
    record["sigs"] = [{"kid": key.jkt, "alg": "ed25519", "role": "producer", "value": value}]


def checkpoint(entries, signer=LOG, origin=ORIGIN, size=None):
    root = v.Tree(map(v.leaf_hash, entries)).root()
    return note(f"{origin}\n{len(entries) if size is None else size}\n{base64.b64encode(root).decode()}\n", signer, origin)


def files(entries, sides):
    """Every file of a ledger folder over these entries."""
    found = {"checkpoint": checkpoint(entries), f"objects/{sha(POLICIES).hex()}": POLICIES, f"objects/{sha(SCHEMA).hex()}": SCHEMA}
    level, hashes_ = 0, [v.leaf_hash(entry) for entry in entries]
    while hashes_:
        for at in range(0, len(hashes_), 256):
            some = hashes_[at : at + 256]
            found[v.tile_path(level, at // 256, len(some))] = b"".join(some)
        hashes_ = [v.Tree(hashes_[at : at + 256]).root() for at in range(0, len(hashes_) - 255, 256)]
        level += 1
    for at in range(0, len(entries), 256):
        some = entries[at : at + 256]
        found[v.tile_path("entries", at // 256, len(some))] = b"".join(len(one).to_bytes(2, "big") + one for one in some)
        lines = [side + b"\n" for side in sides[at : at + 256] if side is not None]
        if lines:
            found["side/" + v.number_path(at // 256)] = b"".join(lines)
    return found


def write(folder, found):
    for path, data in found.items():
        place = pathlib.Path(folder) / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
