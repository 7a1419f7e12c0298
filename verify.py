#!/usr/bin/env python3
"""Verifies a copy of a Remit ledger, without Remit: one file, Python 3.10 or newer, and the package `cryptography`.

    python verify.py DIR [--vkey VKEY] [--earlier FILE] [--policy FILE] [--keys FILE] [--pinned-keys FILE] [--json | --records]
    python verify.py proof FILE (--vkey VKEY | --policy FILE) [--entry FILE] [--json]

DIR is a ledger folder. VKEY is the log's verifier key, from a source you trust; without it the key that the log states
about itself is used, which shows only that the log is whole, not whose it is. --earlier is a checkpoint of this log that you
kept: the log must extend it. --policy is a C2SP tlog-policy: which witnesses must have cosigned. --keys is a disclosure
file with the keys of sealed values. --pinned-keys is a JSON object of issuers (identity providers and others that vouch for people or
workloads), each with its JWK set, from a source you trust: evidence by any other key fails. FILE is a tlog-proof (then --entry is the record it is about) or a field proof (JSON).

Prints one line for each check that fails. Exit status 0: everything held. 1: something did not. 2: called wrongly.

Written from docs/ledger-format.md and docs/custody-format.md, and RFC 6962, 7515, 7517, 7638, 8785, 9449, C2SP tlog-tiles,
tlog-checkpoint, signed-note, tlog-cosignature, tlog-policy and tlog-proof. It shares no code with Remit. It does not make
decisions again (that needs the Cedar engine: `remit audit replay`); it checks that what they were made from is pinned.
"""

import argparse
import base64
import binascii
import datetime
import hashlib
import ipaddress
import json
import math
import pathlib
import re
import sys
import uuid
from decimal import Decimal

from cryptography import x509
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

WIDTH = 256  # hashes in a full tile, entries in a full bundle
EXACT = 2**53 - 1  # every integer up to here is a double
U64 = 2**64 - 1
LINES = 100  # failures listed for one kind of check
ENTRY_LIMIT = 65_535
NOTE_LIMIT = 64 * 1024
TOKEN_LIMIT = 40_960
SCOPE_LIMIT = 16_384
CLAIMS_MEMBERS = 16_384
OBJECT_LIMIT = 16 << 20
SIDE_LIMIT = 1 << 30
ZERO = "sha-256:" + "0" * 64

class Wrong(Exception):
    """Something is not as it must be."""

# What hostile values can make ordinary code raise; everything else is a mistake of this program and may stop it.
HOSTILE = (Wrong, ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError, RecursionError, OSError)
def refuse(condition, why):
    if condition: raise Wrong(why)
def words(error): return str(error) if isinstance(error, Wrong) else f"malformed ({type(error).__name__}: {error})"
def sha256(*parts): return hashlib.sha256(b"".join(parts)).digest()
def hash_text(digest): return "sha-256:" + digest.hex()
def parse_hash(text):
    refuse(not isinstance(text, str) or not re.fullmatch(r"sha-256:[0-9a-f]{64}", text), "not a hash text")
    return bytes.fromhex(text[8:])
def decimal(text):
    """A u64 text as a number."""
    refuse(not isinstance(text, str) or not re.fullmatch(r"0|[1-9][0-9]{0,19}", text) or int(text) > U64, "not a u64 text")
    return int(text)
def unbase64(text, what):
    """Standard base64 with padding, in its one spelling."""
    try: data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError): raise Wrong(f"{what} is not base64") from None
    refuse(base64.b64encode(data).decode() != text, f"{what} is not in the one spelling of its base64")
    return data
def b64u(data): return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
def unb64u(text, what="a value"):
    """Base64url without padding, in its one spelling."""
    refuse(not isinstance(text, str) or not re.fullmatch(r"[A-Za-z0-9_-]*", text), f"{what} is not base64url")
    try: data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error: raise Wrong(f"{what} is not base64url") from None
    refuse(b64u(data) != text, f"{what} is not in the one spelling of its base64url")
    return data

# --- JSON: read strictly, written canonically (RFC 8785) --------------------------------------------------------------
def unique_members(pairs):
    members = {}
    for name, value in pairs:
        refuse(name in members, "a member appears twice")
        refuse("\0" in name or name.startswith("$serde_json::private::"), "a member name is reserved or contains NUL")
        members[name] = value
    return members
def whole(digits):
    number = int(digits) if len(digits) < 20 else U64
    refuse(abs(number) > EXACT, "an integer is beyond 2^53 - 1")
    return number
def fraction(digits):
    number = float(digits)
    refuse(math.isinf(number), "a number is not finite")
    return number
def no_constant(name): raise Wrong(f"{name} is not JSON")
def parse_json(data, limit, depth=32, members=16_384):
    """One JSON document and nothing after it; what has two meanings is refused."""
    refuse(len(data) > limit, f"a document of more than {limit} bytes")
    try:
        text = data.decode("utf-8") if isinstance(data, bytes) else data
        hooks = {"parse_int": whole, "parse_float": fraction, "parse_constant": no_constant}
        value = json.loads(text, object_pairs_hook=unique_members, **hooks)
    except (ValueError, RecursionError) as error: raise Wrong(f"not JSON: {error}") from None
    open_, counted = [(value, 0)], 0
    while open_:
        at, level = open_.pop()
        if isinstance(at, (dict, list)):
            counted += len(at)
            refuse(level >= depth or counted > members, "a document is too deep or has too many members")
            open_.extend((inner, level + 1) for inner in (at.values() if isinstance(at, dict) else at))
            if isinstance(at, dict): open_.extend((name, level + 1) for name in at)
        elif isinstance(at, str) and not at.isascii() and any("\ud800" <= c <= "\udfff" for c in at):
            raise Wrong("a text with half a surrogate pair")
    return value
def es_number(value):
    """A double as ECMAScript prints it."""
    if value == int(value) and abs(value) < 1e21: return str(int(value))
    mantissa, _, exponent = repr(value).partition("e")
    power = int(exponent or 0)
    if -7 < power < 0: return ("-" if value < 0 else "") + "0." + "0" * (-power - 1) + mantissa.replace(".", "").lstrip("-")
    return mantissa + (f"e{power:+d}" if power else "")
def jcs(value):
    """The canonical text of a value."""
    if isinstance(value, float): return es_number(value)
    if isinstance(value, dict):
        ordered = sorted(value.items(), key=lambda member: member[0].encode("utf-16-be"))
        return "{" + ",".join(f"{jcs(name)}:{jcs(member)}" for name, member in ordered) + "}"
    if isinstance(value, list): return "[" + ",".join(map(jcs, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
def canonical(value): return jcs(value).encode()
def digest(value): return hash_text(sha256(canonical(value)))
def at(value, pointer):
    """What a plain JSON Pointer addresses; None when nothing is there."""
    for token in pointer.split("/")[1:]:
        if isinstance(value, dict): value = value.get(token)
        elif isinstance(value, list) and re.fullmatch(r"0|[1-9][0-9]{0,8}", token) and int(token) < len(value):
            value = value[int(token)]
        else: return None
    return value
def text_at(value, pointer):
    found = at(value, pointer)
    return found if isinstance(found, str) else None

# --- RFC 6962, section 2.1 --------------------------------------------------------------------------------------------
def leaf_hash(entry): return sha256(b"\x00", entry)
def node(left, right): return sha256(b"\x01", left, right)
class Tree:
    """A tree that grows leaf by leaf: full subtrees on a stack, folded from the right."""
    def __init__(self, leaves=()):
        self.stack, self.size = [], 0
        for leaf in leaves: self.push(leaf)
    def push(self, leaf):
        height = 0
        while self.stack and self.stack[-1][0] == height: leaf, height = node(self.stack.pop()[1], leaf), height + 1
        self.stack.append((height, leaf))
        self.size += 1
    def root(self):
        if not self.stack: return sha256(b"")
        root = self.stack[-1][1]
        for _, left in reversed(self.stack[:-1]): root = node(left, root)
        return root
def root_from_inclusion(leaf, index, size, proof):
    """The root that an inclusion proof leads to."""
    refuse(index >= size, "the index is outside the tree")
    first, last, path = index, size - 1, list(proof)
    while last > 0:
        if first % 2 == 1 or first == last:
            while first % 2 == 0 and first > 0: first, last = first // 2, last // 2
            refuse(not path, "the inclusion proof is too short")
            leaf = node(path.pop(0), leaf) if first % 2 == 1 else node(leaf, path.pop(0))
        else:
            refuse(not path, "the inclusion proof is too short")
            leaf = node(leaf, path.pop(0))
        first, last = first // 2, last // 2
    refuse(path, "the inclusion proof is too long")
    return leaf

# --- C2SP signed-note, tlog-checkpoint, tlog-cosignature, tlog-policy -------------------------------------------------
LOG_KEY, WITNESS_KEY = 1, 4  # algorithm bytes: Ed25519, timestamped Ed25519
class Key:
    """A vkey, `name+keyid+base64(type || key)`."""
    def __init__(self, vkey, kinds=(LOG_KEY,)):
        parts = vkey.split("+", 2)
        refuse(len(parts) != 3, "the verifier key is not name+id+key")
        typed = unbase64(parts[2], "the verifier key")
        refuse(len(typed) != 33 or typed[0] not in kinds, "the verifier key is not of the expected kind")
        self.name, self.kind, self.public = parts[0], typed[0], typed[1:]
        check_name(self.name)
        self.id = sha256(self.name.encode(), b"\n", typed)[:4]
        refuse(parts[1] != self.id.hex(), "the verifier key's id does not fit its name and key")
    def verifies(self, message, signature): return ed25519(self.public, message, signature)
    def cosigned(self, text, blob):
        """The time of the witness's signature (tlog-cosignature). A bad one under a known key fails the whole note."""
        time = int.from_bytes(blob[:8], "big")
        refuse(len(blob) != 72 or time >> 63 or not self.verifies(f"cosignature/v1\ntime {time}\n{text}".encode(), blob[8:]), f"{self.name}: a bad cosignature")
        return time
def ed25519(public, message, signature):
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
        return True
    except (InvalidSignature, ValueError): return False
def check_name(name):
    if not name or "+" in name or any(c.isspace() or control(c) for c in name):
        raise Wrong("a key's name or an origin is empty or holds a space, `+` or a control character")
def control(c): return c < " " or "\x7f" <= c <= "\x9f"
def parse_note(data):
    """(text, [(name, key id, signature)]) of a signed note."""
    refuse(len(data) > NOTE_LIMIT, "the note is too long")
    note = data.decode("utf-8")
    split = note.rfind("\n\n")
    refuse(any(control(c) and c != "\n" for c in note), "the note holds a control character")
    refuse(split < 1 or not note.endswith("\n") or len(note) < split + 3, "not a signed note: no blank line, or a last line that does not end")
    signatures = []
    for line in note[split + 2 : -1].split("\n"):
        refuse(not line.startswith("\u2014 ") or " " not in line[2:], "a malformed signature line")
        name, blob = line[2:].split(" ", 1)
        check_name(name)
        blob = unbase64(blob, "a signature")
        refuse(len(blob) < 5, "a signature without value")
        signatures.append((name, blob[:4], blob[4:]))
    refuse(len(signatures) > 64, "too many signatures")
    return note[: split + 1], signatures
def parse_checkpoint(text):
    """(origin, size, root) from the text of a checkpoint."""
    lines = text.split("\n")
    refuse(len(lines) != 4 or lines[3] != "", "the checkpoint has not three lines")
    check_name(lines[0])
    size, root = decimal(lines[1]), unbase64(lines[2], "the root")
    refuse(len(root) != 32 or (size == 0 and root != sha256(b"")), "the checkpoint's root is not one of such a log")
    return lines[0], size, root
def open_checkpoint(data, key):
    """(origin, size, root), once the key's signature holds. A bad signature under a known key fails the whole note."""
    text, signatures = parse_note(data)
    ours = [value for name, ident, value in signatures if (name, ident) == (key.name, key.id)]
    refuse(not ours, "the checkpoint is not signed by the given key")
    refuse(not all(key.verifies(text.encode(), value) for value in ours), "the checkpoint's signature does not verify")
    checkpoint = parse_checkpoint(text)
    refuse(checkpoint[0] != key.name, f"the checkpoint is of log `{checkpoint[0]}`, not of `{key.name}`")
    return checkpoint
class Policy:
    """A tlog-policy: logs, witnesses, groups of them, and the quorum that must have cosigned."""
    def __init__(self, text):
        self.logs, self.members, self.quorum, seen = [], {}, None, set()
        refuse(len(text) > 256 * 1024 or text[-1:] != "\n" or re.search("[\0-\x08\x0b-\x1f\x7f]", text), "not the text of a policy")
        for line in text.split("\n"):
            fields = [field for field in re.split("[ \t]", line) if field]
            if not fields or fields[0].startswith("#"): continue
            if fields[0] == "log" and len(fields) in (2, 3): self.logs.append(Key(fields[1]))
            elif fields[0] == "witness" and len(fields) in (3, 4): self.define(fields[1], Key(fields[2], (WITNESS_KEY,)))
            elif fields[0] == "group" and len(fields) >= 4:
                members = fields[3:]
                need = {"any": 1, "all": len(members)}.get(fields[2]) or decimal(fields[2])
                refuse(not 1 <= need <= len(members) or len(set(members)) != len(members) or not set(members) <= set(self.members) - seen, "not a group")
                seen.update(members)
                self.define(fields[1], (need, members))
            elif fields[0] == "quorum" and len(fields) == 2 and self.quorum is None:
                refuse(fields[1] != "none" and fields[1] not in self.members, "the policy's quorum names nothing")
                self.quorum = fields[1]
            else: raise Wrong(f"a line of the policy is not understood: {line}")
        refuse(self.quorum is None, "the policy has no quorum")
    def define(self, name, what):
        refuse(name in self.members or name == "none", f"the policy defines `{name}` twice")
        refuse(isinstance(what, Key) and any(what.public == getattr(one, "public", 0) for one in self.members.values()), f"`{name}` has another's key")
        self.members[name] = what
    def met(self, note, newest=0, now=U64):
        """Whether a log of the policy signed this note and the quorum cosigned it, at times that can be."""
        text, signatures = parse_note(note)
        key = next((key for key in self.logs if (key.name, key.id) in {line[:2] for line in signatures}), None)
        refuse(key is None or not open_checkpoint(note, key), "the checkpoint is not signed by a log of the policy")
        good = {"none"}
        for name, what in self.members.items():  # a group's members stand before it
            if isinstance(what, Key):
                times = [what.cosigned(text, value) for signer, ident, value in signatures if (signer, ident) == (what.name, what.id)]
                if times and newest - 300 <= max(times) <= now + 300: good.add(name)
            elif sum(member in good for member in what[1]) >= what[0]: good.add(name)
        return self.quorum in good

# --- C2SP tlog-tiles --------------------------------------------------------------------------------------------------
def number_path(number):
    groups = [f"{number % 1000:03}"]
    while number >= 1000:
        number //= 1000
        groups.insert(0, f"x{number % 1000:03}")
    return "/".join(groups)
def tile_path(level, number, width): return f"tile/{level}/{number_path(number)}" + ("" if width == WIDTH else f".p/{width}")
class Log:
    """The files of a ledger folder. Nothing read is trusted."""
    def __init__(self, folder, keys=None):
        self.folder, self.keys = pathlib.Path(folder), keys or {}
        note = self.read("checkpoint", NOTE_LIMIT)
        refuse(note is None, "checkpoint: missing")
        self.note = note
        self.text, self.signatures = parse_note(note)
        self.origin, self.size, self.root = parse_checkpoint(self.text)
        self.bundles, self.sides = (None, None), (None, None)
    def read(self, path, limit):
        """A regular file's bytes, or None."""
        place = self.folder / path
        if not place.exists(): return None
        refuse(not place.is_file(), f"{path}: not a regular file")
        with place.open("rb") as file: data = file.read(limit + 1)
        refuse(len(data) > limit, f"{path}: longer than {limit} bytes")
        return data
    def tile(self, level, number, width, limit):
        """(bytes, width) of a tile; a partial one may since have become the full one."""
        for candidate in dict.fromkeys([width, WIDTH]):
            data = self.read(tile_path(level, number, candidate), limit)
            if data is not None: return data, candidate
        raise Wrong(f"{tile_path(level, number, width)}: missing")
    def bundle(self, number):
        """The entries of a bundle, as far as the checkpoint covers it."""
        if self.bundles[0] == number: return self.bundles[1]
        width = min(WIDTH, self.size - number * WIDTH)
        data, found = self.tile("entries", number, width, WIDTH * (ENTRY_LIMIT + 2))
        entries, place = [], 0
        while place + 2 <= len(data):
            length = int.from_bytes(data[place : place + 2], "big")
            entries.append(data[place + 2 : place + 2 + length])
            place += 2 + length
        if place != len(data) or len(entries) != found:
            raise Wrong(f"{tile_path('entries', number, found)}: does not hold the {found} entries its name says")
        self.bundles = (number, entries[:width])
        return self.bundles[1]
    def hashes(self, level, number, width):
        data, found = self.tile(level, number, width, 32 * WIDTH)
        refuse(len(data) != 32 * found, f"{tile_path(level, number, found)}: {len(data)} bytes")
        return [data[place : place + 32] for place in range(0, 32 * width, 32)]
    def object(self, name):
        """A pinned object, when its content is what its name says; None when it is not with this copy."""
        path = "objects/" + parse_hash(name).hex()
        data = self.read(path, OBJECT_LIMIT)
        refuse(data is not None and hash_text(sha256(data)) != name, f"{path}: the content is not what its name says")
        return data
    def side(self, index):
        """The openings of a record, or None. One bad line makes the whole bundle unreadable."""
        number = index // WIDTH
        if self.sides[0] != number:
            data = self.read("side/" + number_path(number), SIDE_LIMIT) or b""
            sides = {}
            for line in filter(None, data.split(b"\n")):
                at_, side = Side.parse(line, self.keys)
                if at_ // WIDTH != number or at_ in sides:
                    raise Wrong(f"side/{number_path(number)}: record {at_} does not belong there, or is there twice")
                sides[at_] = side
            self.sides = (number, sides)
        return self.sides[1].get(index)

# --- Openings (ledger-format, section 6) ------------------------------------------------------------------------------
class Side:
    """What is disclosed of the values that one record commits to."""
    def __init__(self, fields, decoys): self.fields, self.decoys = fields, decoys
    @staticmethod
    def parse(line, keys):
        value = parse_json(line, 8 << 20, depth=64, members=1 << 20)
        if set(value) != {"decoys", "fields", "index"} or len(value["fields"]) > 256 or len(value["decoys"]) > 256:
            raise Wrong("a line of side values has other members, or too many values")
        fields = {path: Field(path, field, keys) for path, field in value["fields"].items()}
        return decimal(value["index"]), Side(fields, [parse_hash(decoy) for decoy in value["decoys"]])
    def unseal(self, record_id):
        for field in self.fields.values(): field.unseal(record_id)
    def leaves(self):
        ordered = sorted(self.fields.items(), key=lambda field: field[0].encode())
        return [field.leaf for _, field in ordered] + self.decoys
    def root(self): return Tree(self.leaves()).root()
    def leaf(self, path): return self.fields[path].leaf if path in self.fields else None
    def value(self, path):
        """(whether it is open, value)."""
        field = self.fields.get(path)
        if field is None or not field.open: return False, None
        if field.kind != "json": return True, field.content
        try: return True, json.loads(field.content)
        except (ValueError, RecursionError): return False, None
class Field:
    """One committed value: open, closed, or sealed under keys that this verifier may have."""
    def __init__(self, path, stored, keys):
        self.path, self.open, self.sealed, self.names = path, False, None, []
        if set(stored) == {"leaf"}: self.leaf = parse_hash(stored["leaf"])
        elif set(stored) == {"salt", "type", "value"}: self.fill(stored)
        elif set(stored) == {"keys", "leaf", "sealed"}:
            names = stored["keys"]
            if not 1 <= len(names) <= 16 or names != sorted(set(names), key=str.encode) or not all(re.fullmatch(r"k:[A-Za-z0-9_-]{22}", n) for n in names):
                raise Wrong("a sealed field's keys are not sorted, unique key ids")
            self.leaf, blob, self.names = parse_hash(stored["leaf"]), unb64u(stored["sealed"], "a sealed field"), names
            refuse(len(blob) <= 28, "a sealed field without content")
            if all(name in keys for name in names): self.sealed = (b"".join(keys[name] for name in names), blob)
        else: raise Wrong("a field is neither open, closed nor sealed")
    def fill(self, stored):
        refuse(not isinstance(stored["salt"], str) or not isinstance(stored["type"], str), "a field's salt or type is not a text")
        self.leaf = leaf_hash(canonical([stored["salt"], self.path, stored["type"], stored["value"]]))
        self.kind, self.content, self.open = stored["type"], stored["value"], True
    def unseal(self, record_id):
        """Opens the field when all of its keys are here."""
        if self.sealed is None: return
        secret, blob = self.sealed
        info = b"\x00".join([b"agent.audit.v1 side", record_id.encode(), self.path.encode()])
        key = HKDF(hashes.SHA256(), 32, None, info).derive(secret)
        self.sealed, leaf = None, self.leaf
        try: plain = AESGCM(key).decrypt(blob[:12], blob[12:], leaf)
        except (InvalidTag, ValueError): raise Wrong(f"{self.path}: the sealed value does not open under its keys") from None
        self.fill(parse_json(plain, 8 << 20, depth=64, members=1 << 20))
        refuse(self.leaf != leaf, f"{self.path}: the sealed value is not the one committed to")

# --- Report -----------------------------------------------------------------------------------------------------------
class Report:
    """What was found. Names of checks are those of `remit audit verify --json`."""
    def __init__(self):
        self.failures, self.counts, self.notes = [], {}, []
        self.records = self.disclosed = self.undisclosed = self.tokens = self.hops = self.uses = 0
        self.independent, self.unknown, self.roots, self.keys = False, [], {}, {}
    def fail(self, name, index, why):
        self.counts[name] = self.counts.get(name, 0) + 1
        if self.counts[name] <= LINES:
            self.failures.append({"name": name, "index": index, "detail": words(why) if isinstance(why, Exception) else why})
    def note(self, text):
        if len(self.notes) < LINES and text not in self.notes: self.notes.append(text)
    def root(self, proof): self.roots[proof] = self.roots.get(proof, 0) + 1
    def root_lines(self):
        """By what the roots of people are proved, and by which keys of others."""
        for proof, words_ in ROOTS.items():
            if proof in self.roots: yield f"roots {self.roots[proof]} {words_}"
        for (issuer, thumb), (count, pinned) in sorted(self.keys.items()):
            compared = {None: "not compared: give the issuer's keys with --pinned-keys", True: "as pinned", False: "NOT PINNED"}[pinned]
            yield f"key   {thumb} of {issuer} in {count} records, {compared}"
    def ok(self): return not self.counts
    def lines(self):
        for failure in self.failures:
            place = "" if failure["index"] is None else f" at record {failure['index']}"
            yield f"FAIL {failure['name']}{place}: {failure['detail']}"
        for name, count in self.counts.items():
            if count > LINES: yield f"FAIL {name}: and {count - LINES} more"
    def value(self):
        names = "independent records disclosed undisclosed tokens hops uses failures notes".split()
        keys = [{"issuer": issuer, "thumbprint": thumb, "records": count, "pinned": pinned} for (issuer, thumb), (count, pinned) in sorted(self.keys.items())]
        return {"ok": self.ok(), "unknown_outcomes": self.unknown, "roots": self.roots, "keys": keys} | {name: getattr(self, name) for name in names}

ROOTS = {
    "passkey": "signed with the person's passkey",
    "provider": "proved by the person's identity provider, for what was asked",
    "earlier_sign_in": "of a person who had signed in at their identity provider for something else (signed in, not asked)",
    "issuer": "proved by a token of a trusted issuer",
    "server": "of a person by this server's statement alone",
    "not_checked": "with a sign-in at an identity provider that was not checked: it is withheld",
}

# --- Records (ledger-format, sections 4 to 7) -------------------------------------------------------------------------
TEXTS = """
record_id record_type tenant_id env producer/id producer/kind producer/version producer/build_digest producer/epoch seq
prev_hash chain_uid time/wall time/wall_ns time/error_bound_ns time/clock_status time/source time/mono_ns time/boot_id
time/hlc chain/0/kind chain/0/subject_ref chain/0/issuer chain/0/auth/method chain/0/grant/id chain/0/grant/type owner_ref
protocol action/name action/class request/hash response/hash human_in_loop outcome/status outcome/effect_confirmed
commit/root record_hash sigs/0/kid sigs/0/alg sigs/0/role sigs/0/value retention/class retention/not_before_delete
""".split()
NUMBERS = ["producer/epoch", "seq", "time/wall_ns", "time/mono_ns", "time/error_bound_ns"]
WORDS = {
    "record_type": "intent decision effect token lease approval delegation policy_change config_change session_open "
    "session_close redaction log_access log_control heartbeat reconcile sandbox",
    "env": "prod stage sandbox replay",
    "producer/kind": "gateway authz_server broker sandbox sdk resource",
    "time/clock_status": "synchronized free_running unknown disrupted",
    "time/source": "ptp_phc ntp_nts ntp cloud none",
    "protocol": "mcp http a2a grpc sql ssh llm internal",
    "action/class": "read write delete execute admin identity payment",
    "human_in_loop": "none notified approved edited break_glass",
    "outcome/status": "success failure denied timeout cancelled partial unknown escalated",
    "outcome/effect_confirmed": "observed acked dispatched_only none",
    "chain/*/kind": "human agent subagent workload service external_agent",
    "chain/*/auth/method": "passkey mfa sso spiffe_svid wit client_assertion client_certificate api_key(legacy) password none",
    "chain/*/grant/type": "login token_exchange ciba client_credentials id_jag txn_token",
    "resource/*/classification": "public internal confidential pii phi pci secret",
    "decision/result": "allow deny step_up mask quota error_fail_closed",
}
HASHES = """
producer/build_digest request/hash response/hash request/diff_hash decision/policy_set_digest decision/schema_digest
decision/entities_digest decision/input_hash chain/*/edge_proof chain/*/token/jti_hash
chain/*/token/authorization_details_hash chain/*/cnf/proof_hash chain/*/grant/parent_jti_hash
""".split()
class Record:
    """A parsed record: what section 4 says of every record holds, and its few typed members are at hand."""
    def __init__(self, entry):
        value = parse_json(entry, ENTRY_LIMIT)
        refuse(canonical(value) != entry, "not in canonical form (RFC 8785)")
        refuse(not isinstance(value, dict) or value.get("schema") != "agent.audit.v1", "another schema")
        self.value = value
        for pointer in TEXTS: refuse(self.text(pointer) is None, f"`{pointer}` is missing or no text")
        chain = value["chain"]
        refuse(not all(isinstance(value.get(name), list) for name in ("chain", "resource", "sigs")), "`chain`, `resource` or `sigs` is no array")
        depth = value.get("chain_depth")
        if not 1 <= len(chain) <= 16 or isinstance(depth, bool) or depth != len(chain) or isinstance(depth, float):
            raise Wrong("`chain_depth` is not the number of nodes")
        self.chain, self.type, self.id = chain, value["record_type"], value["record_id"]
        self.epoch, self.seq, self.wall_ns, self.mono_ns, _ = (decimal(self.text(pointer)) for pointer in NUMBERS)
        refuse(self.text("time/wall") != rfc3339_ns(self.wall_ns), "`time/wall` is not `time/wall_ns`")
        millis, counter, self.hlc_node = self.text("time/hlc").split(".")
        self.hlc = (decimal(millis), decimal(counter))
        for pointer in ("prev_hash", "record_hash", "commit/root"): parse_hash(self.text(pointer))
        self.producer, self.hash, self.previous = self.text("producer/id"), value["record_hash"], value["prev_hash"]
    def at(self, pointer): return at(self.value, "/" + pointer)
    def text(self, pointer): return text_at(self.value, "/" + pointer)
    def number(self, pointer):
        try: return decimal(self.text(pointer))
        except Wrong: return None
    def recomputed_hash(self):
        return digest({name: member for name, member in self.value.items() if name not in ("record_hash", "sigs", "log")})
    def is_start(self): return self.type == "log_control" and self.text("action/name") == "start"
    def written(self):
        """Its own time, in whole seconds."""
        return self.wall_ns // 10**9
    def decided_at(self):
        """The `now` that a decision was made with, where the record states it."""
        for fact in self.at("decision/nondet") or []:
            if isinstance(fact, dict) and fact.get("name") == "now":
                now = fact.get("value")
                return now if isinstance(now, int) and not isinstance(now, bool) else None
        return None
def rfc3339_ns(ns):
    """A moment in UTC with nine digits."""
    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=ns // 10**9)
    return f"{moment.isoformat()}.{ns % 10**9:09}Z"
def places(value, pointer):
    """Every value that a pointer with `*` for any item addresses."""
    found = [value]
    for token in pointer.split("/"):
        if token == "*": found = [item for value in found if isinstance(value, list) for item in value]
        else: found = [value[token] for value in found if isinstance(value, dict) and token in value]
    return found
def misformed(record):
    """Why a member that is there has a form that section 4 does not know; None when all is well."""
    for pointer, allowed in WORDS.items():
        if any(not isinstance(word, str) or word not in allowed.split(" ") for word in places(record.value, pointer)):
            return f"`{pointer}` is a word that does not occur there"
    for pointer in HASHES:
        for found in filter(lambda found: found is not None, places(record.value, pointer)):
            try: parse_hash(found)
            except Wrong: return f"`{pointer}` is not a hash text"
    producer = sha256(record.producer.encode()).hex()
    if record.text("chain_uid") != "chain:" + producer[:32] or record.hlc_node != producer[:8]:
        return "`chain_uid` or `time.hlc` is of another producer"
    for place, party in enumerate(record.chain):
        named = [text_at(party, pointer) for pointer in ("/kind", "/subject_ref", "/issuer", "/auth/method", "/grant/type")]
        if None in named or (place > 0) != ("edge_proof" in party):
            return f"`chain/{place}` lacks a member, or has an `edge_proof` where it must not"
    if len(record.value["resource"]) > 256 or any(text_at(r, "/type") is None or text_at(r, "/classification") is None for r in record.value["resource"]):
        return "`resource` lacks a member or is too long"
    if not isinstance(record.at("retention/legal_hold"), bool): return "`retention/legal_hold` is not a boolean"
    return None

# Where an opening's leaf must also be found in the record, and what stands there when nothing was committed.
NOTHING = hash_text(sha256(b""))
BOUND = {
    "/call/arguments": ("request/hash", NOTHING),
    "/response/body": ("response/hash", NOTHING),
    "/decision/input": ("decision/input_hash", None),
}
class Records:
    """The checks on each record, in the order of the log."""
    def __init__(self, log, report):
        self.log, self.report = log, report
        self.producers, self.intents, self.pinned, self.broken, self.sessions, self.counts = {}, {}, set(), None, {}, {}
    def check(self, index, record):
        fail = lambda name, why: self.report.fail(name, index, why)
        if record.recomputed_hash() != record.hash: fail("record_hash", "the record does not have the hash it states")
        if why := misformed(record): fail("members", why)
        before = self.producers.get(record.producer)
        if why := misplaced(before[0] if before else None, record): fail("sequence", why)
        key = record.at("ext/keys/record") if record.is_start() else before[1] if before and before[0].epoch == record.epoch else None
        if not signed(record, key): fail("signature", "no good signature by the producer's key of this epoch")
        self.time(index, before[0] if before else None, record)
        self.producers[record.producer] = (record, key)
        self.objects(index, record)
        self.openings(index, record)
        self.outcome(index, record)
        self.session(index, record)
        self.counted(index, record)
    def session(self, index, record):
        """Records of a session are numbered without gaps, and its close states how many there were."""
        ident, number = record.text("session/id"), record.text("session_seq")
        if ident is None:
            if number is not None: self.report.fail("sessions", index, "session_seq without a session")
            return
        counts = self.sessions.setdefault(ident, Counts(index))
        if record.number("session_seq") != counts.records:
            self.report.fail("sessions", index, f"session_seq {number} where {counts.records} is due")
        counts.add(record)
        if record.type == "session_close":
            if not counts.stated(record.at("ext/session"), False):
                self.report.fail("sessions", index, "the counts at the session's close are not those of its records")
            del self.sessions[ident]
    def counted(self, index, record):
        """Heartbeats state what came since the last one, and a stop also what its whole epoch held."""
        start, stop = record.is_start(), record.type == "log_control" and record.text("action/name") == "stop"
        if start or record.producer not in self.counts:
            self.counts[record.producer] = [Counts(index + start), Counts(index if start else 0)]
        since, epoch = self.counts[record.producer]
        if stop or record.type == "heartbeat":
            stated, whole = record.at("ext/counts"), record.at("ext/epoch") if stop else None
            held = (stop if stated is None else since.stated(stated, True)) and (whole is None or epoch.stated(whole, True))
            if not held: self.report.fail("counts", index, "the counts it states are not those of the records before it")
            self.counts[record.producer][0] = Counts(index + 1)
        elif not start: since.add(record)
        epoch.add(record)
    def time(self, index, last, record):
        fail = lambda why: self.report.fail("time", index, why)
        try:
            ident = uuid.UUID(record.id)
            made = ident.int >> 80 if ident.version == 7 and str(ident) == record.id else None
        except ValueError: made = None
        if made != record.wall_ns // 10**6: fail("record_id is not a UUIDv7 of the record's time")
        start, end = record.number("time/start_ns"), record.number("time/end_ns")
        if start is not None and end is not None and start > end: fail("the effect ends before it begins")
        if last is None: return
        if record.hlc <= last.hlc: fail("the logical clock does not advance")
        if record.text("time/boot_id") == last.text("time/boot_id") and record.mono_ns < last.mono_ns:
            fail("the monotonic clock goes backwards within one boot")
        if record.wall_ns < last.wall_ns:
            self.report.note(f"record {index}: the wall clock was set back by {last.wall_ns - record.wall_ns} ns")
    def objects(self, index, record):
        """What a decision was made from is pinned, and is what its name says."""
        for name in ("policy_set_digest", "schema_digest"):
            pinned = record.text("decision/" + name)
            if pinned is None or pinned in self.pinned: continue
            self.pinned.add(pinned)
            try: refuse(self.log.object(pinned) is None, f"the pinned object {pinned} is not with this copy")
            except HOSTILE as error: self.report.fail("objects", index, error)
    def openings(self, index, record):
        if self.broken == index // WIDTH: return
        try: side = self.log.side(index)
        except HOSTILE as error:
            self.broken = index // WIDTH
            self.report.fail("commitments", index, error)
            return
        if side is None:
            self.report.undisclosed += 1
            return
        try: self.opened(side, record)
        except HOSTILE as error: self.report.fail("commitments", index, error)
        whole = all(field.open for field in side.fields.values())
        self.report.disclosed, self.report.undisclosed = self.report.disclosed + whole, self.report.undisclosed + (not whole)
    def opened(self, side, record):
        side.unseal(record.id)
        leaves = side.leaves()
        if hash_text(side.root()) != record.text("commit/root") or len(leaves) != record.at("commit/count_padded"):
            raise Wrong("the openings do not make commit.root and commit.count_padded")
        stated = record.at("commit/key_ids") or []
        sealed = any(name not in stated for field in side.fields.values() for name in field.names)
        refuse(sealed, "a value is sealed under a key that commit.key_ids does not name")
        for path, (member, nothing) in BOUND.items():
            if (hash_text(side.leaf(path)) if side.leaf(path) else nothing) != record.text(member):
                raise Wrong(f"`{member}` is not the leaf of {path}")
        for place, party in enumerate(record.chain):
            jws, stated = text_at(side.value(f"/chain/{place}/edge")[1], "/jws"), text_at(party, "/edge_proof")
            if jws is not None and stated is not None and hash_text(sha256(jws.encode())) != stated:
                raise Wrong(f"the edge_proof of node {place} is not the hash of the proof it stands for")
    def outcome(self, index, record):
        """An effect belongs to one intent before it, of the same act."""
        act = (record.text("action/name"), record.text("txn"))
        if record.type == "intent": self.intents[record.id] = (index, act)
        elif record.type == "effect":
            intent = self.intents.pop(record.text("intent_id"), None)
            if intent is None: self.report.fail("intents", index, "an effect without an open intent before it")
            elif intent[1] != act: self.report.fail("intents", index, "an effect of another act than its intent's")
    def finish(self): self.report.unknown = sorted(index for index, _ in self.intents.values())
class Counts:
    """How many records since one of them, and of which types."""
    def __init__(self, first): self.first, self.records, self.types = first, 0, {}
    def add(self, record): self.records, self.types[record.type] = self.records + 1, self.types.get(record.type, 0) + 1
    def stated(self, facts, with_first):
        """Whether a record states exactly this."""
        types = {kind: str(number) for kind, number in self.types.items()}
        first = not with_first or at(facts, "/from") == str(self.first)
        return first and at(facts, "/records") == str(self.records) and at(facts, "/types") == types
def misplaced(last, record):
    """Why a record does not follow its producer's previous one."""
    if last is None: due = (1, 0, ZERO)
    elif record.epoch == last.epoch: due = (last.epoch, last.seq + 1, last.hash)
    else: due = (last.epoch + 1, 0, last.hash)
    if (record.epoch, record.seq) != due[:2]:
        return f"epoch {record.epoch} sequence {record.seq} where epoch {due[0]} sequence {due[1]} is due"
    if record.previous != due[2]: return "prev_hash is not the hash of the producer's previous record"
    return None if (record.seq == 0) == record.is_start() else "start records and sequence 0 must be the same"
def signed(record, jwk):
    """Whether the producer's key of the epoch signed the record's hash."""
    if not isinstance(jwk, dict) or (jwk.get("kty"), jwk.get("crv")) != ("OKP", "Ed25519"): return False
    try: public = unb64u(jwk.get("x"))
    except Wrong: return False
    # RFC 7638: the required members, in order, without spaces.
    kid = b64u(sha256(canonical({"crv": "Ed25519", "kty": "OKP", "x": jwk["x"]})))
    for sig in record.value["sigs"]:
        named = isinstance(sig, dict) and (sig.get("role"), sig.get("alg"), sig.get("kid")) == ("producer", "ed25519", kid)
        if named and jwk.get("kid") == kid:
            try:
                if ed25519(public, f"agent.audit.v1 record\n{record.recomputed_hash()}".encode(), unb64u(sig.get("value"))):
                    return True
            except Wrong: pass
    return False
def verify_log(log, report, vkey=None, earlier=None, policy=None):
    """Checkpoint, tree, tiles and records. Returns the records by index; None where there is none."""
    key = trusted_key(log, report, vkey, policy)
    if key is not None:
        try: open_checkpoint(log.note, key)
        except HOSTILE as error: report.fail("checkpoint", None, error)
    if policy is not None:
        try: refuse(not policy.met(log.note, newest(log), int(datetime.datetime.now().timestamp())), "the quorum has not cosigned the checkpoint")
        except HOSTILE as error: report.fail("witnesses", None, error)
    before = earlier_checkpoint(log, report, key, earlier) if earlier is not None and key is not None else None
    tree, tiles, records, found = Tree(), Tiles(log, report), Records(log, report), {}
    extends(before, tree, report)
    for number in range((log.size + WIDTH - 1) // WIDTH):
        try: entries = log.bundle(number)
        except HOSTILE as error:
            # Nothing after a missing bundle can be placed in the tree.
            report.fail("tree", number * WIDTH, error)
            found[number * WIDTH] = None
            return found
        for index, entry in enumerate(entries, number * WIDTH):
            tree.push(leaf_hash(entry))
            tiles.push(leaf_hash(entry))
            extends(before, tree, report)
            try: found[index] = Record(entry)
            except HOSTILE as error:
                found[index] = None
                report.fail("canonical", index, error)
            else: records.check(index, found[index])
            report.records += 1
    tiles.finish()
    records.finish()
    if tree.root() != log.root: report.fail("tree", tiles.first(), "the entries do not make the root that the checkpoint signs")
    return found
def newest(log):
    """When the last record was written, in seconds; 0 when that cannot be read."""
    try: return Record(log.bundle((log.size - 1) // WIDTH)[-1]).written()
    except HOSTILE: return 0
def trusted_key(log, report, vkey, policy):
    """The key given, or the policy's for this origin, or the one that the log states about itself."""
    listed = [key for key in (policy.logs if policy else []) if key.name == log.origin]
    report.independent = vkey is not None or bool(listed)
    if listed and vkey is None: return listed[0]
    try:
        if vkey is None:
            first = Record(log.bundle(0)[0]) if log.size else None
            vkey = first.text("ext/keys/log") if first is not None and first.is_start() else None
            refuse(vkey is None, "no verifier key was given and the log states none")
        return Key(vkey.strip())
    except HOSTILE as error:
        report.fail("checkpoint", None, error)
        return None
def earlier_checkpoint(log, report, key, note):
    try: _, size, root = open_checkpoint(note, key)
    except HOSTILE as error:
        report.fail("extension", None, error)
        return None
    if size > log.size:
        report.fail("extension", log.size, f"the log had {size} entries before and has {log.size} now")
        return None
    return size, root
def extends(earlier, tree, report):
    if earlier is not None and earlier[0] == tree.size and earlier[1] != tree.root():
        report.fail("extension", None, f"the first {tree.size} entries are not those of the earlier checkpoint")
class Tiles:
    """Makes the hash tiles again while the leaves go by, and compares each with its file."""
    def __init__(self, log, report): self.log, self.report, self.levels, self.parted = log, report, [], []
    def push(self, leaf):
        for level in range(8):
            if len(self.levels) <= level: self.levels.append([0, []])
            self.levels[level][1].append(leaf)
            if len(self.levels[level][1]) < WIDTH: return
            number, hashes_ = self.levels[level]
            self.compare(level, number, hashes_)
            leaf = Tree(hashes_).root()
            self.levels[level] = [number + 1, []]
    def finish(self):
        for level, (number, hashes_) in enumerate(self.levels):
            if hashes_: self.compare(level, number, hashes_)
    def compare(self, level, number, expected):
        try:
            stored = self.log.hashes(level, number, len(expected))
            differs = [place for place, pair in enumerate(zip(stored, expected)) if pair[0] != pair[1]]
            if differs:
                self.parted.append((level, (number * WIDTH + differs[0]) * WIDTH**level))
                self.report.fail("tiles", self.parted[-1][1], f"{tile_path(level, number, len(expected))} does not hold the hashes of the entries")
        except HOSTILE as error: self.report.fail("tiles", None, error)
    def first(self):
        """The first entry that is not what the tiles say, by the finest level that shows it."""
        return min(self.parted)[1] if self.parted else None

# --- Authority (custody-format, section 3) ----------------------------------------------------------------------------
ANY = None  # every name, every field
KINDS = ("text", "list", "object")
def scalar(value):
    """A JSON value without parts, as (kind, value); numbers are exact decimals."""
    if value is None or isinstance(value, (bool, str)):
        refuse(isinstance(value, str) and len(value.encode()) > 1024, "a text of more than 1024 bytes")
        return (type(value).__name__, value)
    return ("number", exact(value))
def exact(value):
    refuse(isinstance(value, bool) or not isinstance(value, (int, float)), "not a number")
    return Decimal(repr(value)) + 0

# A constraint is ("absent",), ("one", scalars), ("range", least, most), ("texts", prefixes, hosts), ("unset", kinds) or
# ("each", constraint); a bound, hosts or an item's constraint that is not there is None, and so is a constraint without values.
def between(least, most):
    if least is not None and most is not None and least >= most: return ("one", frozenset([("number", least)])) if least == most else None
    return ("range", least, most)
def one_of(values): return ("one", frozenset(values)) if values else None
def same_letters(a, b): return a.isascii() and a.lower() == b
def url_host(url):
    """The host and port as they are written, and whether something follows that ends them."""
    scheme, found, rest = url.partition("://")
    if not found or not any(same_letters(scheme, known) for known in ("https", "http")): return None
    end = re.search(r"[/?#]", rest)
    return (rest[: end.start()] if end else rest, bool(end))
def reach(prefix, host):
    """How much of what begins with the prefix is at the host: 0 nothing, 1 some, 2 everything."""
    read = url_host(prefix)
    if read and read[1]: return 2 if same_letters(read[0], host) else 0
    return int(any(same_letters(prefix, whole[: len(prefix)]) for whole in ("https://" + host, "http://" + host)))
def is_host(text):
    if len(text.encode()) > 260: return False
    bracketed = re.fullmatch(r"\[([0-9a-f:]+)\](?::(.*))?", text, re.S)
    host, port = bracketed.groups() if bracketed else (text.partition(":")[0], text.partition(":")[2] if ":" in text else None)
    if port is not None and not (re.fullmatch(r"[1-9][0-9]{0,4}", port) and int(port) < 65536 and int(port) not in (80, 443)): return False
    try:
        if bracketed: return str(ipaddress.IPv6Address(host)) == host
        last = host.rpartition(".")[2]
        if re.fullmatch(r"[0-9]*", last) or last.startswith("0x"): return str(ipaddress.IPv4Address(host)) == host
    except ValueError: return False
    return all(re.fullmatch(r"(?!-)[a-z0-9-]{1,63}(?<!-)", label) for label in host.split("."))
def texts(prefixes, hosts):
    """Texts with one of the prefixes and, where hosts are named, at one of them; in one spelling."""
    prefixes = {p for p in prefixes if not any(other != p and p.startswith(other) for other in prefixes)}
    if hosts is not None:
        prefixes = {p for p in prefixes if any(reach(p, host) for host in hosts)}
        settled = all(any(reach(p, host) == 2 for host in hosts) for p in prefixes)
        hosts = None if settled else frozenset(host for host in hosts if any(reach(p, host) for p in prefixes))
    return ("texts", frozenset(prefixes), hosts) if prefixes else None
def may_miss(constraint): return constraint[0] in ("absent", "unset")
def allows(constraint, value):
    match constraint:
        case ("one", values): return value in values
        case ("range", least, most):
            return value[0] == "number" and (least is None or least <= value[1]) and (most is None or value[1] <= most)
        case ("texts", prefixes, hosts):
            if value[0] != "str" or not value[1].startswith(tuple(prefixes)): return False
            read = url_host(value[1])
            return hosts is None or (read is not None and any(same_letters(read[0], host) for host in hosts))
        case ("unset", kinds): return value == ("NoneType", None) or (value == ("str", "") and "text" in kinds)
    return False
def both(a, b):
    """What two constraints allow; None when nothing."""
    if a is None or b is None: return None
    order = ("absent", "one", "unset", "range", "texts", "each")
    a, b = sorted((a, b), key=lambda constraint: order.index(constraint[0]))
    match a, b:
        case ("absent",), _: return a if may_miss(b) else None
        case ("one", values), _: return one_of([value for value in values if allows(b, value)])
        case ("range", a1, a2), ("range", b1, b2):
            return between(max((x for x in (a1, b1) if x is not None), default=None), min((x for x in (a2, b2) if x is not None), default=None))
        case ("texts", p, h), ("texts", q, g):
            met = {max(x, y, key=len) for x in p for y in q if x.startswith(y) or y.startswith(x)}
            return texts(met, h & g if h is not None and g is not None else h if h is not None else g)
        case ("unset", x), ("unset", y): return ("unset", x & y)
        case ("unset", kinds), ("texts", _, _): return one_of([("str", "")] if "text" in kinds and allows(b, ("str", "")) else [])
        case ("unset", kinds), ("each", _): return ("each", None) if "list" in kinds else None
        case ("each", x), ("each", y): return ("each", both(x, y))
    return None
def constraint_within(child, parent):
    match child, parent:
        case ("absent",), _: return may_miss(parent)
        case ("one", values), _: return all(allows(parent, value) for value in values)
        case ("range", a1, a2), ("range", b1, b2):
            return (b1 is None or (a1 is not None and b1 <= a1)) and (b2 is None or (a2 is not None and a2 <= b2))
        case ("texts", _, _), ("texts", _, _): return both(child, parent) == child
        case ("unset", x), ("unset", y): return x <= y
        case ("each", None), ("unset", kinds): return "list" in kinds
        case ("each", x), ("each", y): return x is None or (y is not None and constraint_within(x, y))
    return False
def parse_constraint(value):
    refuse(not isinstance(value, dict) or not value, "a constraint is an object with members")
    several = lambda operand: frozenset(scalar(text)[1] for text in (operand if isinstance(operand, list) else [operand]))
    strings = lambda operand: isinstance(operand, str) or (isinstance(operand, list) and len(operand) <= 256 and all(isinstance(x, str) for x in operand))
    met = ()
    for name, operand in value.items():
        match name:
            case "eq": one = one_of([scalar(operand)])
            case "in" if isinstance(operand, list) and len(operand) <= 256: one = one_of([scalar(item) for item in operand])
            case "min": one = between(None if exact(operand) == -EXACT else exact(operand), None)
            case "max": one = between(None, exact(operand))
            case "prefix" if strings(operand): one = texts(several(operand), None)
            case "host" if strings(operand) and all(map(is_host, several(operand))): one = texts({""}, several(operand))
            case "absent" if operand is True: one = ("absent",)
            case "unset" if operand is True: one = ("unset", frozenset(KINDS))
            case "unset" if isinstance(operand, list) and all(kind in KINDS for kind in operand): one = ("unset", frozenset(operand))
            case "each":
                items = parse_constraint(operand)
                refuse(items is not None and items[0] not in ("one", "range", "texts"), "`each` is about scalars")
                one = ("each", items)
            case _: raise Wrong(f"an unknown constraint `{name}`")
        met = one if met == () else both(met, one)
    return met

# Constraints at pointers that lie in one another, and `only` (custody-format, section 3).
def steps(pointer):
    """The pointers to what contains the addressed value, each with the kind of value that its next token supposes."""
    for cut in re.finditer("/", pointer):
        token = pointer[cut.end() :].partition("/")[0]
        yield pointer[: cut.start()], "list" if cut.start() and re.fullmatch(r"0|[1-9][0-9]*", token, re.A) else "object"
def inside(pointer, container): return pointer.startswith(container + "/")
def narrow(arguments, pointer, by): arguments[pointer] = both(arguments[pointer], by) if pointer in arguments else by
def conclude(arguments):
    """Draws out what constraints imply for one another; None marks those that nothing meets."""
    before = None
    while before != arguments and None not in arguments.values():
        before = dict(arguments)
        for pointer in [p for p, constraint in before.items() if constraint == ("absent",) and p.endswith("/0") and p != "/0"]:
            del arguments[pointer]
            narrow(arguments, pointer[:-2], ("unset", frozenset(["list"])))
        kinds = {}
        for container, kind in [step for pointer in arguments for step in steps(pointer)]: kinds.setdefault(container, set()).add(kind)
        for container in sorted(kinds):
            if None in arguments.values(): return
            within = [pointer for pointer in arguments if inside(pointer, container)]
            match arguments.get(container, ()):
                case () if len(kinds[container]) == 1: pass
                case ("each", items) if items is not None and "object" not in kinds[container]:
                    for pointer in within: conclude_item(arguments, container, pointer, items)
                case _:
                    narrow(arguments, container, ("unset", frozenset(kinds[container] if len(kinds[container]) == 1 else [])))
                    for pointer in within:
                        if pointer in arguments and not may_miss(arguments.pop(pointer)): arguments[container] = None
def conclude_item(arguments, container, pointer, items):
    index, deeper, _ = pointer[len(container) + 1 :].partition("/")
    if deeper: return narrow(arguments, f"{container}/{index}", ("unset", frozenset()))
    match arguments[pointer]:
        case ("absent",) | None: pass
        case ("unset", kinds):
            if "text" in kinds and allows(items, ("str", "")): arguments[pointer] = ("unset", frozenset(["text"]))
            else: arguments[pointer] = ("unset", frozenset()) if allows(items, ("NoneType", None)) else ("absent",)
        case other: arguments[pointer] = both(other, items)
def left_out(only, pointer):
    """Whether `only` leaves nothing at the pointer, and no other shape on the way there."""
    if only is ANY: return False
    shapes = dict(steps(pointer))
    related = lambda other: other == pointer or inside(pointer, other) or inside(other, pointer)
    return not any(related(other) or any(shapes.get(at, kind) != kind for at, kind in steps(other)) for other in only)
def pointer_tokens(text):
    refuse(not isinstance(text, str) or len(text.encode()) > 256 or (text and text[0] != "/") or re.search(r"~(?![01])", text), "not a JSON Pointer")
    return text.split("/")[1:]
def argument_pointer(text):
    refuse(not pointer_tokens(text) or "*" in pointer_tokens(text), "not a pointer to an argument")
    return text
def field_path(text):
    """A pointer to response fields: `*` is any item, digits one item, everything else a member."""
    path = []
    for token in pointer_tokens(text):
        if token == "*": path.append(("item",))
        elif re.fullmatch(r"0|[1-9][0-9]*", token):
            refuse(int(token) > U64, "not an index")
            path.append(("index", int(token)))
        else: path.append(("name", token.replace("~1", "/").replace("~0", "~")))
    return tuple(path)
def shows(path, inner):
    """Whether a field pointer shows everything that another one shows."""
    fits = lambda a, b: a == b or (a == ("item",) and b[0] == "index")
    return len(path) <= len(inner) and all(fits(a, b) for a, b in zip(path, inner))
def names(value, limit, valid):
    refuse(not isinstance(value, list) or len(value) > limit or not all(isinstance(name, str) and valid(name) for name in value), "not a list of names")
    return frozenset(value)
def graphic(text): return bool(re.fullmatch(r"[\x21-\x7e]+", text))
def agent_subject(text): return bool(re.fullmatch(r"agent:[a-z0-9][a-z0-9._-]{0,63}", text))
class Grant:
    """One authorization detail of type `tool_access`, in normal form."""
    def __init__(self, detail):
        refuse(not isinstance(detail, dict) or detail.get("type") != "tool_access", "an authorization detail of another type")
        self.locations = self.actions = self.fields = self.calls = self.to = self.not_after = self.only = ANY
        self.arguments, self.spend, self.budgets, self.depth, self.possible = {}, {}, frozenset(), 0, True
        for name, value in detail.items():
            read = getattr(self, f"read_{name}", None)
            refuse(read is None, f"an unknown dimension `{name}`")
            read(value)
        self.normalise()
    def read_type(self, value): pass
    def read_locations(self, value):
        self.locations = names(value, 64, lambda uri: len(uri) <= 2048 and ":" in uri and graphic(uri))
    def read_actions(self, value):
        named = names(value, 1024, lambda name: len(name) <= 256 and graphic(name) and (name == "*" or "*" not in name))
        self.actions = ANY if "*" in named else named
    def read_arguments(self, value):
        refuse(not isinstance(value, dict) or len(value) > 64, "`arguments` is no object of at most 64")
        self.arguments = {argument_pointer(pointer): parse_constraint(c) for pointer, c in value.items()}
    def read_only(self, value):
        refuse(value is not True and (not isinstance(value, list) or len(value) > 64), "`only` is neither `true` nor a list of at most 64")
        self.only = value if value is True else {argument_pointer(pointer) for pointer in value}
    def read_fields(self, value):
        refuse(not isinstance(value, list) or len(value) > 64, "`fields` is no list of at most 64")
        self.fields = {field_path(text) for text in value}
    def read_limits(self, value):
        for name, limit in value.items():
            if name == "calls": self.calls = count(limit, EXACT)
            elif name == "spend" and isinstance(limit, dict) and len(limit) <= 16:
                self.spend = {argument_pointer(pointer): exact(most) for pointer, most in limit.items()}
                refuse(not all(0 <= most <= 1e12 for most in self.spend.values()), "`limits.spend` is out of range")
            elif name == "name":
                self.budgets = frozenset(limit if isinstance(limit, list) else [limit])
                refuse(len(self.budgets) > 16 or not all(isinstance(one, str) and 0 < len(one) <= 128 for one in self.budgets), "no name of a budget")
            else: raise Wrong(f"an unknown limit `{name}`")
        refuse(bool(self.budgets) and self.calls is ANY and not self.spend, "a budget has a name but no size")
    def read_delegate(self, value):
        refuse(not isinstance(value, dict) or not {"to"} <= set(value) <= {"to", "depth"}, "`delegate` is not {to, depth}")
        named = names(value["to"], 256, lambda sub: sub == "*" or agent_subject(sub))
        self.to, self.depth = (ANY if "*" in named else named), count(value.get("depth", 1), 8)
    def read_not_after(self, value):
        refuse(isinstance(value, bool) or not isinstance(value, int), "`not_after` is not whole seconds")
        self.not_after = value
    def normalise(self):
        """One spelling for one meaning; `possible` is false when the grant permits nothing."""
        empty = any(named is not ANY and not named for named in (self.locations, self.actions))
        if empty or self.calls == 0 or (self.not_after is not ANY and self.not_after <= 0): self.possible = False
        if self.only is True: self.only = self.arguments.keys() | self.spend.keys()
        elif self.only is not ANY:
            stated = {} if None in self.arguments.values() else self.arguments
            needed = [p for p in stated.keys() | self.spend.keys() if p not in stated or not may_miss(stated[p])]
            refuse(any(left_out(self.only, pointer) for pointer in needed), "`only` does not name what the grant needs")
        for pointer, most in self.spend.items(): narrow(self.arguments, pointer, between(Decimal(0), most))
        conclude(self.arguments)
        if self.only is not ANY:
            self.only = {pointer for pointer in self.only if not any(inside(pointer, other) for other in self.only)}
            self.only = {p for p in self.only if p.count("/") > 1 or self.arguments.get(p) != ("absent",)}
        for pointer in [pointer for pointer in self.arguments if left_out(self.only, pointer)]:
            constraint = self.arguments.pop(pointer)
            if constraint is None or not may_miss(constraint): self.possible = False
        if None in self.arguments.values(): self.possible = False
        if self.fields is not ANY:
            kept = {path for path in self.fields if not any(other != path and shows(other, path) for other in self.fields)}
            self.fields = ANY if () in self.fields else kept
        if self.depth == 0 or (self.to is not ANY and not self.to): self.depth = 0
        if len(self.arguments) > 64: self.possible = False
    def implies(self, pointer, constraint):
        if pointer in self.arguments: return constraint_within(self.arguments[pointer], constraint)
        return may_miss(constraint) and (self.is_missing(pointer) or left_out(self.only, pointer))
    def is_missing(self, pointer):
        """Whether a constraint on a container leaves nothing there, and no other shape than the pointer supposes."""
        for container, kind in steps(pointer):
            match self.arguments.get(container):
                case ("absent",): return True
                case ("one", values) if values == {("NoneType", None)}: return True
                case ("unset", kinds) if kinds <= {kind}: return True
                case ("each", None) if kind == "list": return True
        return False
    def within(self, parent):
        subset = lambda a, b: b is ANY or (a is not ANY and a <= b)
        least = lambda a, b: b is None or (a is not None and a <= b)
        return (
            subset(self.locations, parent.locations)
            and subset(self.actions, parent.actions)
            and all(self.implies(pointer, constraint) for pointer, constraint in parent.arguments.items())
            and (parent.only is ANY or (self.only is not ANY and all(any(c == p or inside(c, p) for p in parent.only) for c in self.only)))
            and parent.budgets <= self.budgets
            and (parent.fields is ANY or (self.fields is not ANY and all(any(shows(p, c) for p in parent.fields) for c in self.fields)))
            and least(self.calls, parent.calls)
            and all(pointer in self.spend and self.spend[pointer] <= most for pointer, most in parent.spend.items())
            and (self.depth == 0 or (self.depth <= parent.depth and subset(self.to, parent.to)))
            and least(self.not_after, parent.not_after)
        )
    def handed_to(self, subject):
        """This grant in the hands of a delegate, with one hop less to go; None when it does not name them."""
        if self.depth == 0 or (self.to is not ANY and subject not in self.to): return None
        handed = object.__new__(Grant)
        handed.__dict__ = dict(self.__dict__, depth=self.depth - 1)
        return handed
def count(value, most):
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise Wrong(f"not a whole number from 0 to {most}")
    return value
class Authority:
    """A set of grants: RFC 9396 `authorization_details`."""
    def __init__(self, details):
        refuse(not isinstance(details, list) or len(details) > 64, "`authorization_details` is not a list of at most 64")
        self.grants = [grant for grant in map(Grant, details) if grant.possible]
        self.value = details
    def within(self, parent, what): refuse(not covered(self.grants, parent.grants), what)
    def handed_to(self, principal):
        handed = [grant.handed_to(principal["sub"]) for grant in self.grants if agent_subject(principal["sub"])]
        return [grant for grant in handed if grant is not None]
def covered(children, parents): return all(any(child.within(parent) for parent in parents) for child in children)

# --- JOSE (RFC 7515, 7517, 7518, 7638, 8037) --------------------------------------------------------------------------
PRIVATE = {"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"}
CURVES = {"P-256": (ec.SECP256R1(), 32, "ES256", hashes.SHA256()), "P-384": (ec.SECP384R1(), 48, "ES384", hashes.SHA384())}
# Ed25519 keys under which one signature fits many messages: the points of small order.
SMALL_ORDER = {
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
}
class PublicKey:
    """One public JWK. The key knows its algorithm; a header can only agree with it."""
    def __init__(self, jwk):
        refuse(not isinstance(jwk, dict) or PRIVATE & set(jwk), "not a public key")
        refuse(jwk.get("use", "sig") != "sig" or "verify" not in jwk.get("key_ops", ["verify"]), "the key is not for verifying")
        kind, curve = jwk.get("kty"), jwk.get("crv")
        if kind == "EC" and curve in CURVES:
            shape, size, alg, self.hash = CURVES[curve]
            x, y = unb64u(jwk.get("x")), unb64u(jwk.get("y"))
            refuse((len(x), len(y)) != (size, size), "a coordinate has the wrong length")
            self.size, required = size, {"crv": curve, "kty": kind, "x": jwk["x"], "y": jwk["y"]}
            self.key = ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), shape).public_key()
            allowed = [alg]
        elif kind == "OKP" and curve == "Ed25519":
            self.key, required, allowed = unb64u(jwk.get("x")), {"crv": curve, "kty": kind, "x": jwk["x"]}, ["Ed25519", "EdDSA"]
            refuse(len(self.key) != 32 or weak(self.key), "not a proper Ed25519 key")
        elif kind == "RSA":
            n, e = unb64u(jwk.get("n")), unb64u(jwk.get("e"))
            number = int.from_bytes(n, "big")
            if n[:1] == b"\0" or not 2048 <= number.bit_length() <= 8192 or e != b"\x01\x00\x01":
                raise Wrong("an RSA key needs 2048 to 8192 bits and the exponent 65537")
            self.key, required = rsa.RSAPublicNumbers(65537, number).public_key(), {"e": jwk["e"], "kty": kind, "n": jwk["n"]}
            allowed = ["PS256"] if jwk.get("alg") == "PS256" else ["RS256"]
        else: raise Wrong("the key's kind or curve is not supported")
        refuse(jwk.get("alg", allowed[0]) not in allowed, "the key's `alg` does not fit its kind")
        self.algs, self.jkt = allowed, b64u(sha256(canonical(required)))
    def verify(self, alg, message, signature):
        """Raises unless the header's algorithm is the key's and the signature holds."""
        refuse(alg not in self.algs, "the token's `alg` is not the algorithm of its key")
        try:
            if "Ed25519" in self.algs: good = ed25519(self.key, message, signature)
            elif isinstance(self.key, ec.EllipticCurvePublicKey):
                r, s = signature[: self.size], signature[self.size :]
                der = utils.encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))
                good = len(signature) == 2 * self.size and self.key.verify(der, message, ec.ECDSA(self.hash)) is None
            else:
                pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
                good = self.key.verify(signature, message, pss if alg == "PS256" else padding.PKCS1v15(), hashes.SHA256()) is None
        except InvalidSignature: good = False
        refuse(not good, "the token's signature does not verify")
    def verify_asn1(self, message, signature):
        """As `verify`, for signatures as authenticators make them: those of ECDSA are ASN.1."""
        if not isinstance(self.key, ec.EllipticCurvePublicKey): return self.verify(self.algs[0], message, signature)
        try: self.key.verify(signature, message, ec.ECDSA(self.hash))
        except InvalidSignature: raise Wrong("the passkey's signature does not verify") from None
def relying_party(url):
    """The site and the origin of passkeys (Web Authentication): a name with TLS, or this computer."""
    found = re.fullmatch(r"(https?)://([^/?#]*)([/?#].*)?", url) if isinstance(url, str) else None
    authority = found[2] if found else ""
    host = authority.rpartition(":")[0] if ":" in authority else authority
    label = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
    named = all(label.fullmatch(part) for part in host.split(".")) and not re.fullmatch(r"[0-9]*", host.split(".")[-1])
    local = host == "localhost" or host.endswith(".localhost")
    refuse(not found or not named or not (found[1] == "https" or local), "the issuer's address has no passkeys")
    return host, f"{found[1]}://{authority.removesuffix({'https': ':443', 'http': ':80'}[found[1]])}"
def assertion(said, key, counter, challenge, site, origin):
    """A passkey's signature over a challenge (Web Authentication, section 7.2); returns the counter it states."""
    data, client, signature = (unb64u(said[name]) for name in ("authenticator_data", "client_data", "signature"))
    asked = parse_json(client, 64 << 10, members=CLAIMS_MEMBERS)
    refuse(not isinstance(asked, dict) or asked.get("type") != "webauthn.get", "the passkey was asked for something else than `webauthn.get`")
    refuse(not isinstance(asked.get("challenge"), str) or unb64u(asked["challenge"]) != challenge, "the passkey answers another challenge")
    refuse(asked.get("origin") != origin, f"the passkey was used at another site than `{origin}`")
    refuse(asked.get("crossOrigin", False) is not False or "topOrigin" in asked, "the passkey was used inside a page of another site")
    refuse(len(data) < 37, "the authenticator data of the passkey is cut short")
    flags, now = data[32], int.from_bytes(data[33:37], "big")
    refuse(data[:32] != sha256(site.encode()), f"the passkey is of another site than `{site}`")
    refuse(not flags & 1, "the authenticator does not say that a person was present")
    refuse(not flags & 4, "the authenticator did not verify the person")
    refuse(flags & 16 and not flags & 8, "the authenticator says that a passkey was backed up which cannot be")
    refuse(flags & 64 or bool(flags & 128) == (len(data) == 37), "the authenticator data of the passkey has another form than an assertion's")
    refuse(not (now > counter or now == counter == 0), f"the passkey's signature counter is {now}, after {counter} before")
    key.verify_asn1(data + sha256(client), signature)
    return now
def weak(public):
    """Small order, or a second spelling of a point."""
    y = public[:31] + bytes([public[31] & 0x7F])
    number = int.from_bytes(y, "little")
    return number <= 1 or number >= 2**255 - 20 or y.hex() in SMALL_ORDER
class KeySet:
    """The keys of one signer, by `kid`."""
    def __init__(self, jwks):
        refuse(not isinstance(jwks, list) or len(jwks) > 64, "not a set of at most 64 keys")
        self.keys = {}
        for jwk in jwks:
            if self.unknown(jwk): continue
            key = PublicKey(jwk)
            kid = jwk.get("kid", key.jkt)
            refuse(not isinstance(kid, str) or not 1 <= len(kid.encode()) <= 256 or kid in self.keys, "a `kid` is malformed or there twice")
            self.keys[kid] = key
    def without(self, kids):
        others = KeySet([])
        others.keys = {kid: key for kid, key in self.keys.items() if kid not in kids}
        return others
    @staticmethod
    def unknown(jwk):
        """Kinds of key that are passed over (RFC 7517, section 5)."""
        others = "RS384 RS512 PS384 PS512 ES512 ES256K Ed448 RSA-OAEP RSA-OAEP-256".split()
        curves = {"EC": ("P-256", "P-384", None), "OKP": ("Ed25519", None), "RSA": (jwk.get("crv"),)}
        if jwk.get("kty") in ("oct", None): return False
        fits = jwk.get("crv") in curves.get(jwk["kty"], ())
        return not fits or jwk.get("use") == "enc" or jwk.get("alg") in others
    def key_for(self, jws):
        """By `kid` when the header has one, else the only key of its algorithm."""
        fitting = {kid: key for kid, key in self.keys.items() if jws.alg in key.algs}
        kid = jws.header.get("kid")
        if kid is not None: fitting = {kid: fitting[kid]} if kid in fitting else {}
        refuse(len(fitting) != 1, "no key of the signer fits the token's `kid` and `alg`")
        return next(iter(fitting.values()))
class Jws:
    """A compact JWS, split and read strictly, not yet verified."""
    def __init__(self, compact, types):
        refuse(not isinstance(compact, str) or len(compact) > TOKEN_LIMIT or compact.count(".") != 2, "not a compact JWS")
        head, body, signature = compact.split(".")
        self.header, self.claims = (parse_json(unb64u(part), 64 << 10, members=CLAIMS_MEMBERS) for part in (head, body))
        refuse(not isinstance(self.header, dict) or not isinstance(self.claims, dict), "a token's header and payload are objects")
        if {"crit", "jku", "x5u", "x5c"} & set(self.header) or self.header.get("b64", True) is not True:
            raise Wrong("the token's header asks for something that is not supported")
        self.alg, self.signed, self.signature = self.header.get("alg"), f"{head}.{body}".encode(), unb64u(signature)
        typ = self.header.get("typ")
        if typ is not None: typ = typ.lower().removeprefix("application/")
        refuse(typ not in types, "the token is of another type")
    def verify(self, key): key.verify(self.alg, self.signed, self.signature)
    def embedded_key(self): return PublicKey(self.header.get("jwk"))
    def by_known_key(self, keys):
        """The signer's key is known; a header that brings its own is an attack."""
        refuse("jwk" in self.header, "the token's header brings its own key")
        self.verify(keys.key_for(self))
    def text(self, name, optional=False):
        value = self.claims.get(name)
        if name not in self.claims and optional: return None
        limit = SCOPE_LIMIT if name == "scope" else 4096
        refuse(not isinstance(value, str) or len(value.encode()) > limit, f"`{name}` is missing or no text")
        return value
    def ident(self, name):
        value = self.text(name)
        refuse(not 1 <= len(value.encode()) <= 256, f"`{name}` is not 1 to 256 bytes long")
        return value
    def time(self, name): return seconds(self.claims.get(name), name)
    def audience(self):
        aud = self.claims.get("aud")
        aud = aud[0] if isinstance(aud, list) and len(aud) == 1 else aud
        refuse(not isinstance(aud, str), "`aud` is not one audience")
        return aud
    def current(self, now, lifetime_from, lifetime):
        """`exp`, `nbf` and `iat` around a moment, a minute of skew allowed; and not longer than its kind may live."""
        expires = self.time("exp")
        refuse(now >= expires + SKEW, f"the token expired at {expires}; it is {now}")
        refuse(any(name in self.claims and self.time(name) > now + SKEW for name in ("nbf", "iat")), "the token is of the future")
        refuse(expires - lifetime_from > lifetime, f"the token lives longer than {lifetime} seconds")

SKEW = 60  # seconds that clocks may differ
WINDOW = 660  # seconds between a proof and its record
ROTATION = 60  # seconds after which a replaced key of an agent vouches for nothing
def seconds(value, name="a time"):  # a NumericDate; a fraction is dropped
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 2**53:
        raise Wrong(f"`{name}` is not a time in seconds")
    return int(value)
def thumbprint(cnf):
    jkt = cnf.get("jkt") if isinstance(cnf, dict) else None
    refuse(not isinstance(jkt, str) or len(jkt) != 43 or len(unb64u(jkt)) != 32, "`cnf` has no `jkt` that is a thumbprint")
    return jkt
def confirmation(cnf):
    """One text for a key or for a certificate (RFC 8705, section 3.1)."""
    key, certificate = (text_at(cnf, path) for path in ("/jkt", "/x5t#S256"))
    return key if key is not None or certificate is None else "x5t#S256:" + certificate
def names_both(value): return isinstance(value, dict) and {"jkt", "x5t#S256"} <= set(value)
def same_url(a, b):
    """Whether two URLs are the same for DPoP (RFC 9449, section 4.3; RFC 3986, section 6.2)."""
    return normal_url(a) is not None and normal_url(a) == normal_url(b)
def normal_url(url):
    if not isinstance(url, str) or not re.fullmatch(r'[^\x00-\x20\x7f-\U0010ffff\\"<>^`{|}]*', url): return None
    found = re.fullmatch(r"(https?)://([^/]*)(/.*)?", re.split(r"[?#]", url)[0], re.I)
    if not found: return None
    scheme, authority, path = found[1].lower(), found[2], found[3] or "/"
    host = re.fullmatch(r"(\[[0-9A-Za-z.:_-]+\]|[0-9A-Za-z._-]+)(:[0-9]*)?", authority)
    if not host or re.search(r"%(?![0-9A-Fa-f]{2})", path): return None
    port = host[2][1:] if host[2] and len(host[2]) > 1 else ""
    if port and int(port) > 65535: return None
    port = "" if not port or int(port) == {"http": 80, "https": 443}[scheme] else f":{int(port)}"
    keep = re.compile(r"[A-Za-z0-9._~-]")
    unescape = lambda found: chr(int(found[1], 16)) if keep.fullmatch(chr(int(found[1], 16))) else found[0].upper()
    kept, last = [], ""
    for last in re.sub(r"%([0-9A-Fa-f]{2})", unescape, path).split("/")[1:]:
        if last == "..": kept = kept[:-1]
        elif last != ".": kept.append(last)
    path = "".join("/" + segment for segment in kept)
    return f"{scheme}://{host[1].lower()}{port}" + (path + "/" if last in (".", "..") or not path else path)

# --- Chain of custody (custody-format) --------------------------------------------------------------------------------
def principal(value):
    members = set(value) if isinstance(value, dict) else set()
    if not {"iss", "sub"} <= members <= {"iss", "sub", "kind"} or not all(isinstance(text, str) for text in value.values()):
        raise Wrong("a principal is not {iss, sub} or {iss, sub, kind}")
    said = "human" if value["sub"].startswith("user:") else "agent"
    kind = value.get("kind", said)
    refuse(kind not in ("human", "agent"), "a principal is of an unknown kind")
    return named(value) | ({} if kind == said else {"kind": kind})
def named(principal): return {name: principal[name] for name in ("iss", "sub")}
def is_person(principal): return principal.get("kind", "human" if principal["sub"].startswith("user:") else "agent") == "human"
class Hop:
    """One delegation of a chain."""
    def __init__(self, value):
        members = {"delegator", "delegate", "jkt", "authority", "purpose", "expires", "jti", "edge"}
        refuse(not isinstance(value, dict) or not members - {"purpose", "jkt"} <= set(value) <= members | {"signed", "x5t#S256"}, "a hop of the chain has other members")
        refuse(names_both(value), "the token or a hop of its chain is bound to a key and to a certificate")
        self.value, self.delegator, self.delegate = value, principal(value["delegator"]), principal(value["delegate"])
        self.jkt, self.jti, self.purpose, self.expires = value.get("jkt"), value["jti"], value.get("purpose"), value["expires"]
        self.authority, edge = Authority(value["authority"]), value["edge"]
        self.kind, self.jws, self.signed = edge["kind"], edge["jws"], value.get("signed")
        self.bound_to = confirmation(value)
        texts = [self.jti, self.kind, self.jws] + [text for text in (self.jkt, self.purpose, self.signed, value.get("x5t#S256")) if text is not None]
        if set(edge) != {"kind", "jws"} or not all(isinstance(text, str) for text in texts) or type(self.expires) is not int:
            raise Wrong("a hop of the chain is malformed")
class MayAct:
    """What a token says of its own exchange; it only restricts."""
    def __init__(self, claims):
        self.value, self.single_use = claims.get("may_act"), claims.get("urn:remit:single_use", False)
        refuse(type(self.single_use) is not bool, "`urn:remit:single_use` is neither true nor false")
        if "may_act" not in claims: return
        known = isinstance(self.value, dict) and set(self.value) <= {"iss", "sub", "sub_profile"} and "sub" in self.value
        texts_ = known and all(isinstance(text, str) and 0 < len(text.encode()) <= 2048 for name, text in self.value.items() if name != "sub_profile")
        refuse(not texts_ or self.value.get("sub_profile", "ai_agent") != "ai_agent", "`may_act` of a token cannot be read")
    def admits(self, party, issuer):
        return self.value is None or named(party) == {"iss": self.value.get("iss", issuer), "sub": self.value["sub"]}
class Token:
    """What the committed values of a token record say."""
    def __init__(self, chain, claims):
        refuse(set(chain) != {"id", "root", "hops"}, "the chain has other members")
        self.id, self.root, self.hops = chain["id"], principal(chain["root"]), [Hop(hop) for hop in chain["hops"]]
        self.claims, self.authority = claims, Authority(claims["authorization_details"])
        self.sub, self.jti, self.aud, self.txn = (claims[name] for name in ("sub", "jti", "aud", "txn"))
        self.exp, self.act, self.ancestors = claims["exp"], claims.get("act"), claims.get("urn:remit:ancestors", [])
        self.purpose, self.bound_to = claims.get("urn:remit:purpose"), confirmation(claims.get("cnf"))
        refuse(names_both(claims.get("cnf")), "the token or a hop of its chain is bound to a key and to a certificate")
        texts = [self.id, self.sub, self.jti, self.aud, self.txn, *self.ancestors]
        refuse(not all(isinstance(text, str) for text in texts) or type(self.exp) is not int, "the token's claims are malformed")
        self.auth_time, self.acr, self.amr = claims.get("auth_time"), claims.get("acr"), claims.get("amr")
        if self.amr is None: self.amr = []
        how = self.auth_time is None or type(self.auth_time) is int, self.acr is None or isinstance(self.acr, str), isinstance(self.amr, list)
        refuse(not all(how) or not all(isinstance(one, str) for one in self.amr), "the token's claims are malformed")
        self.may_act = MayAct(claims)
    def new_hop(self):
        """Whether the chain's last hop made this token, as opposed to a refresh or a narrower copy."""
        return bool(self.hops) and self.hops[-1].jti == self.jti
    def parties(self): return [self.root] + [hop.delegate for hop in self.hops]
    def since(self):
        """When the sign-in at its root was. Where it does not say: before any end of the person's sign-ins."""
        return -2**63 if self.auth_time is None else self.auth_time
    def agrees_with(self, record, jti_hash, side):
        """The plain facts of the record are those of the committed token and chain."""
        facts = record.at("ext/token")
        stated = hash_text(sha256(self.jti.encode())) == jti_hash and record.text("txn") == self.id == self.txn
        refuse(not stated or facts.get("authority_digest") != digest(self.authority.value), "the committed token or chain is not the one the record states")
        if facts.get("expires", self.exp) != self.exp or facts.get("audience", self.aud) != self.aud:
            raise Wrong("the record states another end or audience than the committed token")
        parent = named_hash(self.ancestors[0]) if self.ancestors else None
        refuse(facts.get("parent_jti_hash", parent) != parent, "the record states another parent than the committed token")
        refuse(len(record.chain) != len(self.hops) + 1, "the record's chain has not the parties of the committed chain")
        for place, party in enumerate(self.parties()):
            open_, subject = side.value(f"/chain/{place}/subject")
            refuse(open_ and subject != named(party), f"party {place} of the record's chain is not that of the committed chain")
        for place, hop in enumerate(self.hops, 1):
            proof = text_at(record.chain[place], "/edge_proof")
            if proof is not None and proof != hash_text(sha256(hop.jws.encode())):
                raise Wrong(f"the edge_proof of party {place} is not the committed chain's")
        shown = confirmation(record.chain[-1].get("cnf"))
        refuse(shown is not None and shown != self.bound_to, "the record states another key than the committed token")
    def says_what_its_chain_says(self):
        act = None
        for hop in self.hops:
            profile = "user" if is_person(hop.delegate) else "ai_agent"
            act = dict(named(hop.delegate), sub_profile=profile) | ({} if act is None else {"act": act})
        refuse(self.sub != self.root["sub"] or self.act != act, "`sub` or `act` of the token do not say what the chain says")
        signed = self.hops[0].signed if self.hops else None
        refuse(self.claims.get("urn:remit:signed") != signed, "the token and its chain disagree on what the person signed")
        if not self.hops: return
        last = self.hops[-1]
        refuse(self.bound_to != last.bound_to, "the token is bound to another key than its holder's")
        refuse(self.exp > last.expires, f"the token ends at {self.exp}, its delegation at {last.expires}")
        self.authority.within(last.authority, "wider than its delegation")
    def is_bound_as_stated(self, record, binds):
        """A token is bound to a key, unless its record and the registration of its holder say otherwise; then no agent hands it on."""
        holder, now = self.parties()[-1]["sub"], record.written()
        if self.bound_to is not None:
            refuse(states_unbound(record), "the record says that the token is bound to no key, and it is bound to one")
            certificate = self.bound_to.startswith("x5t#S256:")
            refuse(certificate != (stated_binding(record) == "mtls"), "the record states another kind of binding than the committed token has")
            refuse(certificate and not binds("mtls", holder, now), "the token is bound to a certificate, and the log does not say that its holder is registered so")
            return
        refuse(not states_unbound(record), "the token is bound to no key")
        refuse(not binds("danger_bearer", holder, now), "the token is bound to no key, and the log does not say that its holder is registered so")
        by_agent = len(self.hops) > 1 or bool(self.hops and not is_person(self.root))
        further = any(grant.get("delegate", {}).get("depth", 1) for one in (self, *self.hops) for grant in one.authority.value if "delegate" in grant)
        refuse(by_agent or further or self.ancestors, "the token is bound to no key, and it or what it rests on was handed on by an agent, or can be")
    def chain_holds(self):
        """Links, cycles, depth, narrowing and lifetimes of the whole chain."""
        refuse(len(self.hops) > 8, "the chain has more than 8 hops")
        seen, jtis, parent = [self.root], set(), None
        for hop in self.hops:
            refuse(hop.delegator != seen[-1] or hop.jti in jtis, "the chain does not hold: spliced")
            refuse(is_person(hop.delegate) or named(hop.delegate) in map(named, seen), "the chain does not hold: a person as delegate, or a cycle")
            if parent is not None:
                refuse(hop.expires > parent.expires, "the chain does not hold: a hop outlives the one before")
                refuse(hop.delegate["iss"] != hop.delegator["iss"], "the chain does not hold: a delegate of another issuer")
                hop.authority.within(parent.authority, "the chain does not hold: a hop is wider than the one before")
                handed = parent.authority.handed_to(hop.delegate)
                refuse(not handed or not covered(hop.authority.grants, handed), "the chain does not hold: it was not to be handed on so")
            seen, parent = seen + [hop.delegate], hop
            jtis.add(hop.jti)
    def narrows(self, parent):
        refuse(self.exp > parent.exp, f"it ends at {self.exp}, its parent token at {parent.exp}")
        refuse(self.ancestors[1:] != parent.ancestors, "the tokens above it are not those above its parent token")
        self.authority.within(parent.authority, "wider than its parent token")
def stated_binding(record): return text_at(record.chain[-1], "/token/binding")
def states_unbound(record): return stated_binding(record) == "danger_bearer"
class Issued:
    """A token as an earlier record states it."""
    def __init__(self, index, record, token):
        self.index, self.txn, self.token, self.unbound = index, record.text("txn"), token, states_unbound(record)
        self.key, issued = record.text("ext/token/kid"), record.at("ext/token/issued")
        self.issued = issued if type(issued) is int else None
        self.parties = [text_at(party, "/subject_ref") for party in record.chain]
        self.bound_to = token.bound_to if token is not None and token.bound_to is not None else confirmation(record.chain[-1].get("cnf"))
        stated = record.at("ext/token/expires")
        self.ends = token.exp if token is not None else stated if type(stated) is int else None
        above = named_hash(token.ancestors[0]) if token is not None and token.ancestors else None
        self.parent = above if token is not None else record.text("ext/token/parent_jti_hash")
def named_hash(text): return hash_text(sha256(text.encode()))
def issuer_key(kid): return "issuer key " + kid
class Custody:
    """Every token continues the chain of the one it came from, by at most one hop that the delegator itself signed."""
    def __init__(self, log, report, pinned=None):
        self.log, self.report, self.pinned = log, report, pinned
        self.issuer, self.agents, self.tokens, self.proofs, self.exchanged = None, {}, {}, set(), set()
        self.revoked, self.replaced, self.ends, self.passkeys, self.consents = {}, {}, {}, {}, {}
        self.stopped, self.disabled, self.begun, self.ended = {}, {}, {}, {}
    def visit(self, index, record):
        try:
            refuse(record is None, "the record cannot be read")
            if record.type == "log_control": self.learn_issuer(record)
            elif record.type == "config_change": self.learn_issuer(record), self.learn_agent(record), self.learn_passkey(index, record)
            elif record.type == "approval": self.approval(index, record)
            elif record.type in ("token", "delegation"): self.issued(index, record)
            elif record.type in ("decision", "intent", "effect"): self.used(record)
        except HOSTILE as error: self.report.fail("custody", index, error)
        if record is not None: self.learn_revocation(index, record)
    def learn_issuer(self, record):
        """A start record states the issuer's keys, and so does a change of them."""
        jwks = record.at("ext/keys/issuer") if record.is_start() or record.type == "config_change" else None
        if jwks is not None:
            self.issuer, self.ends = None, {}
            self.issuer = KeySet(jwks["keys"])
            self.ends = {kid: int(end) for kid, end in (record.at("ext/keys/issuer_until") or {}).items()}
    def learn_agent(self, record):
        """A registration, or a change, states an agent's keys and credentials; the newest counts, and for a minute that before."""
        agent, jwks, client = record.text("ext/config/agent"), record.at("ext/config/keys"), record.at("ext/config/client")
        if agent is None or not (isinstance(jwks, list) or client is not None): return
        before = self.agents.pop(agent, None)
        if before is not None: self.replaced[agent] = (before, record.written())
        keys, profile = before or (KeySet([]), {})
        # Older builds registered the same key twice; it counts once.
        if isinstance(jwks, list): keys = KeySet(list({canonical(jwk): jwk for jwk in jwks}.values()))
        if client is not None:
            refuse(not isinstance(client, dict) or not isinstance(client.get("credentials", []), list), "the agent's credentials cannot be read")
            profile = client
        self.agents[agent] = (keys, profile)
    def registered(self, agent, now):
        """The registrations that may count now: the newest, and for a minute that before."""
        refuse(agent not in self.agents, "the log has no registration of the agent's keys")
        before, changed = self.replaced.get(agent, (None, 0))
        return [self.agents[agent]] + ([before] if before is not None and now - changed <= ROTATION else [])
    def binds(self, binding, agent, now):
        """Whether the agent's tokens have this binding, as far as its registration goes."""
        return agent in self.agents and any(profile.get("binding") == binding for _, profile in self.registered(agent, now))
    def learn_passkey(self, index, record):
        """A person enrols a passkey, or one is removed."""
        if record.at("ext/passkey") is None: return
        event, credential = record.text("ext/passkey/event"), record.text("ext/passkey/credential")
        side = self.opened(index, record)
        if event is None or credential is None: return
        if event != "enrolled":
            self.passkeys[credential] = "removed"
            return
        refuse(credential in self.passkeys, "the passkey was enrolled before")
        (there, stated), (named_, person) = (side.value(path) for path in ("/passkey/credential", "/chain/0/subject")) if side else ((False, None),) * 2
        if there and named_:
            refuse(not isinstance(stated, dict) or set(stated) != {"id", "key", "counter"}, "the passkey cannot be read")
            counter = stated["counter"]
            refuse(type(counter) is not int or not 0 <= counter < 2**32, "the passkey's counter cannot be read")
            refuse(named_hash(stated["id"]) != credential, "the committed passkey is not the one the record names")
            self.passkeys[credential] = {"person": person, "key": PublicKey(stated["key"]), "counter": counter}
        else: self.passkeys[credential] = None
    def approval(self, index, record):
        """What a person signed when they approved it."""
        digest_ = record.text("ext/token/root_signature")
        if digest_ is None: return
        side = self.opened(index, record)
        refuse(digest_ in self.consents, "the same consent was signed in an earlier record")
        there, evidence = side.value("/approval/signature") if side else (False, None)
        if not there: self.consents[digest_] = None
        else:
            refuse(not isinstance(evidence, dict) or set(evidence) != {"document", "assertion"}, "what the passkey signed cannot be read")
            document = evidence["document"]
            refuse(digest(document) != digest_, "the committed document is not the one that was signed")
            self.consents[digest_] = self.signed(document, evidence["assertion"], side)
    def signed(self, document, said, side):
        person = {"iss": document["issuer"], "sub": document["person"]}
        site, origin = relying_party(document["issuer"])
        there, subject = side.value("/chain/0/subject")
        refuse(there and subject != person, "the passkey that signed is another person's")
        there, page = side.value("/approval/page")
        refuse(there and (not isinstance(page, str) or named_hash(page) != document["page"]), "the committed page is not the one that was signed")
        members = {"credential", "authenticator_data", "client_data", "signature"}
        refuse(not isinstance(said, dict) or set(said) != members or not all(isinstance(one, str) for one in said.values()), "what the passkey signed cannot be read")
        name = named_hash(said["credential"])
        refuse(self.passkeys.get(name, "removed") == "removed", "no earlier record enrols the passkey that signed, or it was removed")
        passkey = self.passkeys[name]
        if passkey is None: return None
        refuse(passkey["person"] != person, "the passkey that signed is another person's")
        passkey["counter"] = assertion(said, passkey["key"], passkey["counter"], sha256(canonical(document)), site, origin)
        return document
    def root_signature(self, token, hop):
        """An earlier approval signed exactly this first hop."""
        if hop.signed is None: return False
        refuse(len(token.hops) != 1 or hop.signed not in self.consents, "no earlier record has the signature that the chain states")
        document, self.consents[hop.signed] = self.consents[hop.signed], "redeemed"
        refuse(document == "redeemed", "the same proof was used for an earlier token")
        if document is None:
            self.report.note("what the person signed at the root is not with this copy")
            return False
        expected = {"type": "remit.consent.v1", "issuer": hop.delegator["iss"], "person": hop.delegator["sub"], "agent": hop.delegate["sub"]}
        expected |= {name: document.get(name) if isinstance(document.get(name), str) else "" for name in ("redirect_uri", "page", "nonce")}
        expected |= {"authority": hop.authority.value, "until": hop.expires} | ({} if hop.purpose is None else {"purpose": hop.purpose})
        refuse(not is_person(hop.delegator) or canonical(expected) != canonical(document), "the person agreed to something else than was delegated")
        return True
    def learn_revocation(self, index, record):
        """From here on the token, or the whole chain, must not be used."""
        done, what = record.text("outcome/status") == "success", record.text("ext/token/revoked")
        ended = {"access_token": "ext/token/jti_hash", "refresh_token": "txn"}.get(what) if done else None
        for pointer in ("ext/token/revoked_txn", ended):
            if pointer and record.text(pointer) is not None: self.revoked.setdefault(record.text(pointer), (index, record.written()))
        key = record.text("ext/keys/revoked") if done else None
        if key is not None: self.revoked.setdefault(issuer_key(key), (index, record.written()))
        if done and record.type == "config_change": self.learn_standing(index, record)
    def learn_standing(self, index, record):
        """An administrator stops an agent or disables an account, or lets them act again."""
        agent, status = record.text("ext/config/agent"), record.text("ext/config/to")
        if status is None: status = record.text("ext/config/status")
        if agent is not None and status == "active": self.stopped.pop(agent, None)
        elif agent is not None and status is not None: self.stopped.setdefault(agent, (index, record.written()))
        person, action, before = record.text("owner_ref"), record.text("action/name"), record.at("ext/sign_in/ended_before")
        if type(before) is int and person:
            ends = self.ended.setdefault(person, [])
            if not ends or ends[-1][0] < before: ends.append((before, index, record.written()))
        if action == "account.disable": self.disabled[person] = (index, record.written(), None)
        elif action == "account.enable" and person in self.disabled: self.disabled[person] = (*self.disabled[person][:2], index)
    def agents_act(self, parties, now):
        """None of these is an agent that had been quarantined or retired."""
        for party in parties:
            index, since = self.stopped.get(party["sub"], (None, now)) if not is_person(party) else (None, now)
            refuse(now > since + GRACE, f"an agent of its chain had been stopped in record {index}")
    def person_acts(self, issued, now):
        """The account of the person at the root had not been disabled, nor since the chain began."""
        if issued.parties[0] not in self.disabled: return
        index, since, enabled = self.disabled[issued.parties[0]]
        after = enabled is not None and self.begun.get(issued.txn, -1) > enabled
        refuse(not after and now > since + GRACE, f"the account of its person had been disabled in record {index}")
    def issued(self, index, record):
        jti_hash = record.text("ext/token/jti_hash")
        if jti_hash is None or record.text("ext/token/authority_digest") is None: return
        self.report.tokens += 1
        side, token = self.opened(index, record), None
        chain, claims = (side.value(path) for path in ("/delegation/chain", "/token/access")) if side else ((False, None), (False, None))
        if record.text("txn") is not None: self.begun.setdefault(record.text("txn"), index)
        if chain[0] and claims[0]: token = Token(chain[1], claims[1])
        why, issued = None, Issued(index, record, token)
        try:
            if token is not None:
                try: self.check(record, jti_hash, token, side, issued)
                finally: self.sign_in_key(record)
            else:
                self.stated(record, issued)
                if self.sign_in(record) is not None: self.report.root("not_checked")
                self.sign_in_key(record)
        except HOSTILE as error: why = error
        earlier, self.tokens[jti_hash] = self.tokens.get(jti_hash), issued
        if earlier is not None: raise Wrong(f"the token was already issued in record {earlier.index}")
        if why is not None: raise why
    def opened(self, index, record):
        side = self.log.side(index)
        if side is not None:
            side.unseal(record.id)
            refuse(hash_text(side.root()) != record.text("commit/root"), "the values beside the record are not those it commits to")
        return side
    def stated(self, record, issued):
        """What the plain facts say of a token that is not with this copy."""
        if issued.parent is not None:
            parent = self.tokens.get(issued.parent)
            refuse(parent is None, "the token it comes from was issued by no earlier record")
            refuse(parent.txn != issued.txn, "its parent token is of another chain")
            if None not in (issued.ends, parent.ends) and issued.ends > parent.ends:
                raise Wrong(f"it ends at {issued.ends}, its parent token at {parent.ends}")
        self.person_acts(issued, record.written())
        self.in_force(self.rests_on(issued), record.written())
    def check(self, record, jti_hash, token, side, issued):
        token.agrees_with(record, jti_hash, side)
        token.says_what_its_chain_says()
        token.is_bound_as_stated(record, self.binds)
        token.chain_holds()
        parent = None
        if token.ancestors:
            parent = self.tokens.get(named_hash(token.ancestors[0]))
            if parent is None: raise Wrong("the token it comes from was issued by no earlier record")
            if parent.token is not None:
                token.narrows(parent.token)
                refuse(parent.token.may_act.single_use and parent.token.jti in self.exchanged, "its parent token was for one exchange, and an earlier record exchanged it")
                self.exchanged.add(parent.token.jti)
        self.in_force(self.rests_on(issued), record.written())
        self.agents_act(token.parties(), record.written())
        self.person_acts(issued, record.written())
        self.signed_in(text_at(record.chain[0], "/subject_ref"), token.since(), record.written())
        new = token.hops[self.known_hops(token, parent) :]
        if self.sign_in(record) is not None and (parent is not None or len(token.hops) != 1 or not new or new[0].kind != "id_token"):
            raise Wrong("this evidence proves only what a person hands over at the root of a chain")
        if not token.hops: self.root_agent(record, token, side)
        elif new and (len(new) > 1 or new[0].jti != token.jti):
            raise Wrong("the chain has hops that no earlier record delegated")
        elif new: self.new_hop(record, token, new[0], parent, side)
    def known_hops(self, token, parent):
        """How many of the token's hops an earlier record already delegated, exactly as they stand."""
        mine = [hop.value for hop in token.hops]
        if parent is not None:
            refuse(parent.txn != token.id, "its parent token is of another chain")
            if parent.token is None: return len(mine) - token.new_hop()
            before = [hop.value for hop in parent.token.hops]
            refuse(mine[: len(before)] != before or parent.token.root != token.root, "the chain is not the parent token's chain continued")
            return len(before)
        if not mine or token.new_hop(): return 0
        made = self.tokens.get(named_hash(token.hops[-1].jti))
        refuse(made is None, "no earlier record made the delegation it rests on")
        if made.token is not None:
            same = (made.token.id, made.token.root, [hop.value for hop in made.token.hops]) == (token.id, token.root, mine)
            refuse(not same, "its chain is not the one that was delegated")
        return len(mine)
    def root_agent(self, record, token, side):
        """An agent on its own account proved itself with a client assertion."""
        refuse(is_person(token.root), "a token for a person without a delegation")
        if token.ancestors: return
        edge = side.value("/chain/0/edge")[1]
        refuse(not isinstance(edge, dict) or edge.get("kind") not in ("client_assertion", "workload_token", "client_certificate"), "the agent's own client assertion is not with its record")
        now, agent = record.written(), token.root
        if edge["kind"] == "workload_token":
            note = self.first_good(self.registered(agent["sub"], now), lambda known: self.workload_token(record, side, edge["jws"], agent, now, known[1]))
            return self.report.note(note)
        if edge["kind"] == "client_certificate":
            return self.first_good(self.registered(agent["sub"], now), lambda known: self.certificate(record, edge["jws"], token.bound_to, now, known[1]))
        jws = Jws(edge["jws"], ("client-authentication+jwt", "jwt", None))
        refuse(jws.text("iss") != agent["sub"] or jws.ident("sub") != agent["sub"], "the assertion is of another client")
        jws.current(now, now + SKEW, 3600)
        jws.ident("jti")
        note = self.first_good(self.registered(agent["sub"], now), lambda known: self.own_assertion(record, side, jws, agent, *known))
        self.once(jws)
        if note is not None: self.report.note(note)
    def first_good(self, known, check):
        """With the newest registration, unless only that before fits."""
        try: return check(known[0])
        except HOSTILE:
            if len(known) < 2: raise
            return check(known[1])
    def own_assertion(self, record, side, jws, agent, registered, profile):
        keys = registered
        at_endpoint = record.text("ext/token/credential/audience") == "token_endpoint"
        refuse(at_endpoint and profile.get("assertion_audience") != "token_endpoint", "the agent is not registered with the audience that the record names")
        refuse(jws.audience() != agent["iss"] + ("/oauth/token" if at_endpoint else ""), "the assertion is for another issuer")
        if record.text("ext/token/credential/kind") == "jwks_uri":
            refuse(not any(one.get("type") == "jwks_uri" for one in profile.get("credentials", [])), "the agent is not registered with the credential that the record names")
            keys = self.stated_key(side)
        jws.by_known_key(keys)
        return "the key of the agent is as the server fetched it from where the agent publishes its keys" if keys is not registered else None
    def workload_token(self, record, side, compact, agent, now, profile):
        """An issuer vouched for the agent. A token that could be used again is kept without its signature."""
        jws, stated = Jws(compact, ("jwt", "jose", None)), side.value("/token/credential")[1]
        refuse(not isinstance(stated, dict), "the key that verified the agent's credential is not with its record")
        if not compact.endswith("."): jws.by_known_key(self.stated_key(side))
        refuse(jws.audience() != agent["iss"], "the workload's token is for another issuer")
        jws.current(now, now, math.inf)
        fact = lambda name: record.text("ext/token/credential/" + name)
        good = [one for one in profile.get("credentials", []) if vouches(one, jws.claims, fact("kind"), fact("trusted_as"))]
        refuse(not good or stated.get("subject") != jws.text("sub"), "the agent is not registered with the credential that the record names")
        vouched = "the token of an issuer vouched for the agent; "
        if compact.endswith("."): return vouched + "its signature was not kept, because it could be used again"
        self.once(jws)
        if fact("trusted_as") is not None: self.meet(fact("trusted_as"), stated["key"])
        return vouched + "the issuer's key is as the server fetched it"
    def certificate(self, record, text, bound_to, now, profile):
        """The agent showed a certificate on the connection. TLS leaves no signature: that it held the key is the server's word."""
        refuse(text.count(".") >= 8, "the agent's certificate cannot be read")
        shown = [unb64u(part) for part in text.split(".")]
        own, leaf = b64u(sha256(shown[0])), Certificate(shown[0])
        refuse(bound_to is not None and bound_to.startswith("x5t#S256:") and bound_to != "x5t#S256:" + own, "the token is bound to another certificate than the one that the agent showed")
        refuse(now + SKEW < leaf.begins or now >= leaf.ends + SKEW, "the agent's certificate was not valid")
        kind, name = (record.text("ext/token/credential/" + fact) for fact in ("kind", "trusted_as"))
        credentials = profile.get("credentials", [])
        good = kind == "self_signed_tls_client_auth" and any(one.get("type") == "certificate" and one.get("thumbprint") == own for one in credentials)
        if kind == "spiffe_x509": good = any(vouches(one, {"sub": leaf.spiffe_id()}, "spiffe_jwt", name) for one in credentials)
        refuse(not good, "the agent is not registered with the credential that the record names")
        self.report.note("that the agent held the key of its certificate, and that an authority of the trust domain vouched for it, is the server's statement" if kind == "spiffe_x509" else "that the agent held the key of its certificate is the server's statement")
    def stated_key(self, side):
        """The key that the record commits to as the one that verified the credential."""
        stated = side.value("/token/credential")[1]
        refuse(not isinstance(stated, dict) or not isinstance(stated.get("key"), dict), "the key that verified the agent's credential is not with its record")
        return KeySet([stated["key"]])
    def once(self, jws, strict=True):
        refuse(strict and jws.signed in self.proofs, "the same proof was used for an earlier token")
        self.proofs.add(jws.signed)
    def new_hop(self, record, token, hop, parent, side):
        if parent is not None and parent.token is not None:
            if hop.expires > parent.token.exp:
                raise Wrong(f"the delegation ends at {hop.expires}, its parent token at {parent.token.exp}")
            hop.authority.within(parent.token.authority, "delegated wider than the parent token")
            refuse(not parent.token.may_act.admits(hop.delegate, parent.token.root["iss"]), "its parent token lets another party act (`may_act`)")
        link = Link(self, record, token, hop, parent, side)
        jws = link.verify()
        self.once(jws, link.proves_one(jws))
        if link.holder is not None: self.once(link.holder)
        self.report.hops += 1
        if hop.kind == "foreign_token": self.meet(jws.text("iss"), link.subject[1]["jwk"])
        signed = self.root_signature(token, hop)
        if signed: self.report.root("passkey")
        proof = self.person(record, token, hop, side, signed) if is_person(hop.delegator) else None
        if proof is not None: self.report.root(proof)
    def meet(self, issuer, jwk):
        """A key that a record states as another issuer's."""
        thumb = PublicKey(jwk).jkt
        known = None if self.pinned is None else thumb in self.pinned.get(issuer, ())
        self.report.keys[issuer, thumb] = (self.report.keys.get((issuer, thumb), (0, None))[0] + 1, known)
        refuse(known is False, f"the key {thumb} is not among those that are pinned for `{issuer}`")
    def sign_in(self, record):
        """What a record states of a sign-in at an identity provider."""
        facts = record.at("ext/token")
        if not isinstance(facts, dict) or "sign_in" not in facts: return None
        stated = facts["sign_in"]
        members = isinstance(stated, dict) and set(stated) == {"kind", "provider", "issuer", "client", "token_hash", "key"}
        refuse(not members or stated["kind"] not in ("requested", "earlier"), "what is stated of the sign-in cannot be read")
        refuse(not all(isinstance(stated[name], str) for name in set(stated) - {"key"}), "what is stated of the sign-in cannot be read")
        return stated
    def sign_in_key(self, record):
        stated = self.sign_in(record)
        if stated is not None: self.meet(stated["issuer"], stated["key"])
    def person(self, record, token, hop, side, signed):
        """By what a person's first hop is proved, besides the server's own ID token."""
        stated = self.sign_in(record)
        if stated is None:
            refuse("/token/sign_in" in side.fields, "the record commits to a sign-in that it does not state")
            return "issuer" if hop.kind == "foreign_token" else None if signed else "server"
        there, evidence = side.value("/token/sign_in")
        if not there:
            refuse("/token/sign_in" not in side.fields, "the record states a sign-in, and does not commit to the ID token of the provider")
            return "not_checked"
        return self.sign_in_holds(stated, evidence, token, hop, record.written())
    def sign_in_holds(self, stated, evidence, token, hop, now):
        """The provider's ID token: about this person, for this server, and its nonce commits to what was asked for."""
        texts_ = isinstance(evidence, dict) and set(evidence) == {"id_token", "request"} and isinstance(evidence["id_token"], str)
        refuse(not texts_, "what is committed of the sign-in cannot be read")
        compact, request, requested = evidence["id_token"], evidence["request"], stated["kind"] == "requested"
        refuse(named_hash(compact) != stated["token_hash"], "the committed ID token of the provider is not the one that the record states")
        jws = Jws(compact, ("jwt", None))
        refuse(len(compact) > 8192 or jws.text("iss") != stated["issuer"], "the ID token is of another provider, or too long")
        refuse(jws.audience() != stated["client"] or jws.text("azp", True) not in (None, stated["client"]), "the ID token of the provider is for another client")
        refuse(jws.text("nonce") != b64u(sha256(canonical(request))), "the nonce of the provider's ID token does not commit to what was asked for")
        issued, sub = jws.time("iat"), jws.text("sub")
        refuse(issued > now + SKEW or "auth_time" in jws.claims and jws.time("auth_time") > now + SKEW, "the ID token of the provider is of the future")
        jws.current(issued, issued, 24 * 3600)
        jws.by_known_key(KeySet([stated["key"]]))
        amr, acr, time = jws.claims.get("amr", []), jws.ident("acr") if "acr" in jws.claims else None, jws.time("auth_time") if "auth_time" in jws.claims else issued
        if "sid" in jws.claims: jws.ident("sid")
        texts_ = isinstance(amr, list) and len(amr) <= 16 and all(isinstance(one, str) and len(one.encode()) <= 64 for one in amr)
        refuse(not texts_ or not 1 <= len(sub.encode()) <= 255, "the ID token of the provider is malformed")
        refuse(now - issued > (600 if requested else 30_000) + CODE_LIFE + SKEW, f"the person signed in at {issued}, too long before {now}")
        name, dash, ending = hop.delegator["sub"].removeprefix("user:").rpartition("-")
        person = hop.delegator["sub"].startswith("user:") and dash and ending == sha256(canonical([jws.text("iss"), sub])).hex()[:40]
        refuse(not person, "another person signed in at the provider")
        same = token.auth_time is not None and 0 <= time - token.auth_time <= SKEW and (token.acr, token.amr) == (acr, amr)
        refuse(not same, "the token states another authentication than the provider")
        self.asked_for(request, hop, now, requested)
        if requested: self.once(jws)
        return "provider" if requested else "earlier_sign_in"
    def asked_for(self, request, hop, now, requested):
        """What a nonce commits to; what was handed over is within it."""
        forms = {"agent": str, "redirect_uri": str, "code_challenge": str, "authority": list, "resources": list, "lifetime": int, "purpose": str}
        read = isinstance(request, dict) and request.get("type") == "remit.sign-in.v1" and isinstance(request.get("salt"), str) and len(request["salt"].encode()) >= 16
        stated = {name: value for name, value in request.items() if name not in ("type", "salt")} if read else {}
        whole = not stated or {"agent", "redirect_uri", "code_challenge"} <= set(stated) <= set(forms)
        read = read and whole and all(type(value) is forms[name] for name, value in stated.items())
        resources = stated.get("resources")
        refuse(not read or resources == [] or not all(isinstance(one, str) for one in resources or []), "what the nonce of the sign-in commits to cannot be read")
        asked = Authority(stated["authority"]) if "authority" in stated else None
        if not requested: return
        refuse(stated.get("agent") != hop.delegate["sub"], "the person signed in for the request of another agent")
        refuse(stated.get("purpose") != hop.purpose, "the person signed in for a request with another purpose")
        refuse("lifetime" in stated and hop.expires > now + stated["lifetime"] + SKEW, "the person signed in for a request with another end")
        if asked is not None: hop.authority.within(asked, "wider than what was asked for when the person signed in")
        located = all(set(grant.get("locations", [None])) <= set(resources) for grant in hop.authority.value) if resources else True
        refuse(not located, "the person signed in for a request with another resource")
    def in_force(self, names, now):
        """None of these had been revoked. A moment is left for what was under way."""
        for name in names:
            index, since = self.revoked.get(name, (None, now))
            refuse(now > since + GRACE, f"it rests on what record {index} had revoked")
    def signed_in(self, person, since, now):
        """The sign-in at the root had not been ended."""
        if since is None: return
        end = next((end for end in self.ended.get(person, []) if since < end[0]), None)
        refuse(end is not None and now > end[2] + GRACE, f"the sign-in that it rests on had been ended in record {end and end[1]}")
    def used(self, record):
        """A gateway's decision is about a token that was issued before, to this very chain."""
        if record.text("producer/kind") != "gateway": return
        through = record.text("decision/result") in ("allow", "mask")
        presented = next((t for p in reversed(record.chain) if (t := text_at(p, "/token/jti_hash")) is not None), None)
        if presented is None:
            refuse(through or record.type != "decision", "it was let through without a token")
            return
        self.report.uses += 1
        issued = self.tokens.get(presented)
        refuse(issued is None, "its token was issued by no earlier record")
        if issued.txn != record.text("txn") or issued.parties != [text_at(party, "/subject_ref") for party in record.chain]:
            raise Wrong(f"its chain is not the one its token was issued to in record {issued.index}")
        proved = confirmation(record.chain[-1].get("cnf"))
        bearer = issued.unbound and states_unbound(record)
        refuse(proved is None and through and not bearer, "it was let through without a proof of the token's key")
        refuse(proved is not None and proved != issued.bound_to, "the key that was proved is not the one its token is bound to")
        if not through: return
        decided = record.decided_at()
        refuse(decided is None, "it was let through, and its record does not state when that was decided")
        if bearer and issued.token is not None and not self.binds("danger_bearer", issued.token.parties()[-1]["sub"], decided):
            raise Wrong("the token is bound to no key, and the log does not say that its holder is registered so")
        refuse(issued.ends is not None and decided > issued.ends + SKEW, "its token had expired")
        if issued.token is not None: self.agents_act(issued.token.parties(), decided)
        self.person_acts(issued, decided)
        self.in_force([*self.rests_on(issued), presented], decided)
        self.signed_in(issued.parties[0], issued.token.since() if issued.token is not None else issued.issued, decided)
    def rests_on(self, issued):
        """What a token rests on, as revocations name it: the tokens above it, its chain, and the keys that signed them."""
        above = [*map(named_hash, issued.token.ancestors)] if issued.token is not None else self.above(issued)
        keys = [issued.key] + [self.tokens[jti].key for jti in above if jti in self.tokens]
        return [*above, issued.txn, *(issuer_key(key) for key in keys if key is not None)]
    def above(self, issued):
        """The tokens that a record states above a token, parent first: each was issued before the one below it."""
        above, parent = [], self.tokens.get(issued.parent)
        while parent is not None and parent.index < issued.index:
            above.append(issued.parent)
            issued, parent = parent, self.tokens.get(parent.parent)
        return above

class Certificate:
    """What a certificate says of itself (RFC 5280, section 4.1)."""
    def __init__(self, der):
        try: self.parsed = x509.load_der_x509_certificate(der)
        except (ValueError, x509.InvalidVersion) as error: raise Wrong("the agent's certificate cannot be read") from error
        self.begins, self.ends = (int(end.timestamp()) for end in (self.parsed.not_valid_before_utc, self.parsed.not_valid_after_utc))
    def spiffe_id(self):
        """The one URI of an X.509-SVID (SPIFFE X509-SVID, sections 2 and 4)."""
        found = self.extensions()
        basic, usage, names = (found.get(b"\x55\x1d" + kind, (False, None)) for kind in (b"\x13", b"\x0f", b"\x11"))
        uses = self.only(0x03, usage[1]) if usage[1] is not None else b""
        refuse(not usage[0] or len(uses) < 2 or uses[0] > 7, "the agent's certificate is no X.509-SVID")
        constraints = der_elements(self.only(0x30, basic[1])) if basic[1] is not None else []
        names = der_elements(self.only(0x30, names[1])) if names[1] is not None else []
        # Those that nobody uses for a workload (x400Address, ediPartyName) are not read.
        refuse(any(tag not in GENERAL_NAMES or tag in TEXT_NAMES and not value.isascii() for tag, value in names), "the agent's certificate cannot be read")
        uris = [value.decode() for tag, value in names if tag == 0x86]
        authority = any(tag == 0x01 and value != b"\0" for tag, value in constraints)
        refuse(authority or not uses[1] & 0x80 or uses[1] & 0x06 or len(uris) != 1, "the agent's certificate is no X.509-SVID")
        return uris[0]
    def only(self, tag, data):
        elements = der_elements(data)
        refuse(len(elements) != 1 or elements[0][0] != tag, "the agent's certificate cannot be read")
        return elements[0][1]
    def extensions(self):
        """By the bytes of its OID, each extension's criticality and value. What is in the others is not looked at."""
        found, last = {}, der_elements(self.only(0x30, self.parsed.tbs_certificate_bytes))[-1]
        for tag, value in der_elements(self.only(0x30, last[1])) if last[0] == 0xA3 else []:
            parts = der_elements(value)
            critical = len(parts) == 3 and parts[1][0] == 0x01 and parts[1][1] != b"\0"
            refuse(tag != 0x30 or not 2 <= len(parts) <= 3 or parts[-1][0] != 0x04 or parts[0][1] in found, "the agent's certificate cannot be read")
            found[parts[0][1]] = critical, parts[-1][1]
        return found
GENERAL_NAMES, TEXT_NAMES = {0xA0, 0x81, 0x82, 0xA4, 0x86, 0x87, 0x88}, {0x81, 0x82, 0x86}
def der_elements(data):
    """Tag and content of each element (X.690, section 10.1)."""
    found = []
    while data:
        start, size, shortest = 2, data[1] if len(data) > 1 else 0, True
        if size & 0x80:
            start, size = 2 + (size & 0x7F), int.from_bytes(data[2 : 2 + (size & 0x7F)], "big")
            shortest = 3 <= start <= 6 and size >= (0x80 if start == 3 else 1 << 8 * (start - 3))
        refuse(len(data) < start + size or not shortest, "a certificate is not in DER")
        found.append((data[0], data[start : start + size]))
        data = data[start + size :]
    return found

FOREIGN = {"access_token": ("at+jwt", "jwt"), "jwt_grant": ("jwt", None), "id_jag": ("oauth-id-jag+jwt",)}
SEGMENT = "[A-Za-z0-9._-]+"
def vouches(one, claims, kind, name):
    """Whether claims are those of a credential that an agent is registered with."""
    text, sub = lambda value: str(value).lower() if isinstance(value, bool) else str(value), claims.get("sub")
    if kind == "federated" and one.get("type") == kind and one.get("issuer") == name:
        return all(type(claims.get(claim)) in (str, int, bool) and text(claims[claim]) == pinned for claim, pinned in one["claims"].items())
    if kind == "kubernetes" and one.get("type") == kind and one.get("cluster") == name:
        found = claims.get("kubernetes.io")
        account = found.get("serviceaccount") if isinstance(found, dict) else None
        if not isinstance(account, dict) or found.get("namespace") != one["namespace"]: return False
        same = sub == f"system:serviceaccount:{one['namespace']}:{one['service_account']}"
        return same and account.get("name") == one["service_account"] and account.get("uid") == one["uid"]
    if kind == "spiffe_jwt" and one.get("type") == "spiffe" and isinstance(sub, str):
        id_ = re.fullmatch(f"spiffe://([a-z0-9._-]{{1,255}})((/{SEGMENT})+)", sub)
        if not id_ or id_[1] != name or {".", ".."} & set(sub.split("/")): return False
        return sub.startswith(one["id"][:-1]) and sub != one["id"][:-1] if one["id"].endswith("/*") else sub == one["id"]
    return False

CODE_LIFE = 60  # seconds from an ID token to the record that rests on it
GRACE = 10  # seconds that a request may be under way when its token is revoked
class Link:
    """One hop, and what earlier records say about its delegator."""
    def __init__(self, custody, record, token, hop, parent, side):
        self.custody, self.record, self.hop, self.parent = custody, record, hop, parent
        self.issuer, self.now = token.root["iss"], record.written()
        self.parent_jti = token.ancestors[0] if token.ancestors else None
        self.hops = len(token.hops)
        self.subject, self.holder = side.value("/token/subject"), None
    def verify(self):
        """The delegator's own signature over this hop; returns the proof."""
        kinds = {"id_token": self.id_token, "dpop_at_token": self.at_token, "statement": self.statement, "dpop_at_call": self.at_call, "foreign_token": self.foreign}
        refuse(self.hop.kind not in kinds, "a client assertion delegates nothing")
        at_root = self.hops == 1 and self.parent_jti is None and is_person(self.hop.delegator)
        refuse(self.hop.kind in ("id_token", "foreign_token") and not at_root, "this evidence proves only what a person hands over at the root of a chain")
        return kinds[self.hop.kind]()
    def id_token(self):
        hop, jws = self.hop, Jws(self.hop.jws, ("jwt", None))
        refuse(jws.text("iss") != hop.delegator["iss"] or jws.audience() != hop.delegate["sub"], "the ID token is of another issuer or for another client")
        jws.current(self.now, jws.time("iat"), 3600)
        refuse(self.custody.issuer is None, "the log states no keys for the signer")
        jws.by_known_key(self.custody.issuer.without({kid for kid, end in self.custody.ends.items() if self.now >= end}))
        refuse(jws.ident("sub") != hop.delegator["sub"], "the ID token is about another person")
        shown = {"agent": hop.delegate["sub"], "authority": hop.authority.value, "until": hop.expires}
        if hop.purpose is not None: shown["purpose"] = hop.purpose
        refuse(jws.text("urn:remit:consent", optional=True) != digest(shown), "the person agreed to something else than was delegated")
        refuse(jws.text("jti", optional=True) not in (None, hop.jti), "the ID token was signed for another delegation")
        return jws
    def proves_one(self, jws):
        """Older builds signed ID tokens without `jti`: two equal consents redeemed within one second gave the same one."""
        if self.hop.kind == "foreign_token":
            value = self.subject[1]
            return value["single_use"] or value["kind"] != "access_token" or jws.claims.get("urn:remit:single_use", False)
        return self.hop.kind != "id_token" or "jti" in jws.claims or self.now - jws.time("iat") > CODE_LIFE
    def foreign(self):
        """A token that a trusted issuer made about the person; the key that verified it is with the record."""
        hop, (open_, subject) = self.hop, self.subject
        refuse(not open_, "the key that verified the token of another issuer is not with its record")
        members = isinstance(subject, dict) and {"kind", "jwk", "single_use"} <= set(subject) <= {"kind", "jwk", "single_use", "proof"}
        refuse(not members or subject["kind"] not in FOREIGN or type(subject["single_use"]) is not bool, "what was committed of a token of another issuer cannot be read")
        kind, proof = subject["kind"], subject.get("proof")
        jws = Jws(hop.jws, FOREIGN[kind])
        issuer, aud = jws.text("iss"), jws.claims.get("aud")
        aud = aud if isinstance(aud, list) else [aud]
        refuse(len(aud) > 32 or not aud or not all(isinstance(one, str) for one in aud), "the token of another issuer has no audience")
        refuse(kind != "access_token" and len(aud) != 1 or kind == "id_jag" and aud != [self.issuer], "the assertion is not for this issuer")
        jws.current(self.now, jws.time("iat"), 86_400)
        refuse(self.now - jws.time("iat") > 86_400 + SKEW, "the token of another issuer is too old")
        jws.by_known_key(KeySet([subject["jwk"]]))
        jws.ident("sub")
        if kind != "access_token": jws.ident("jti")
        stated = jws.claims.get("typ", None if kind != "access_token" else "Bearer")
        other = {"nonce", "at_hash", "c_hash", "s_hash", "events", "token_introspection", "act"} & set(jws.claims)
        refuse(other or stated not in ((None,) if kind != "access_token" else ("Bearer", "DPoP")), "the token of another issuer is of another kind, or was delegated before")
        client = jws.text("client_id", optional=True) or jws.text("azp", optional=True)
        refuse(kind == "id_jag" and client != hop.delegate["sub"], "the assertion was made for another client than the delegate")
        refuse(not MayAct(jws.claims).admits(hop.delegate, issuer), "its parent token lets another party act (`may_act`)")
        if kind == "access_token" and hop.expires > jws.time("exp"): raise Wrong("the delegation outlives the token that it rests on")
        jkt = thumbprint(jws.claims["cnf"]) if "cnf" in jws.claims else None
        if jkt is not None and jkt != hop.jkt or proof is not None:
            refuse(jkt in (None, hop.jkt) or proof is None or kind != "access_token", "the token of another issuer is bound to a key that the delegate did not prove")
            self.holder = seen = Jws(proof, ("dpop+jwt",))
            seen.ident("jti"), seen.text("htu")
            key = seen.embedded_key()
            refuse(key.jkt != jkt, "the proof is made with another key than the delegator's")
            seen.verify(key)
            refuse(abs(seen.time("iat") - self.now) > WINDOW, "the delegator's proof is of another time than the record")
            refuse(seen.text("htm") != "POST" or seen.text("ath") != b64u(sha256(hop.jws.encode())), "the delegator's proof covers another token than the one exchanged")
        self.custody.report.note("whom a token of another issuer means here, and what its scopes hand over, is the server's statement")
        return jws
    def delegator_key(self):
        refuse(self.parent is None or self.parent.bound_to is None, "no earlier record states the delegator's key")
        refuse(self.parent.bound_to.startswith("x5t#S256:"), "the delegator's token is bound to a certificate, and TLS leaves no signature that proves a hop")
        return self.parent.bound_to
    def by_delegator(self, jws):
        key = jws.embedded_key()
        refuse(key.jkt != self.delegator_key(), "the proof is made with another key than the delegator's")
        jws.verify(key)
    def proof(self):
        """A DPoP proof by the delegator's key, of the record's time."""
        jws = Jws(self.hop.jws, ("dpop+jwt",))
        jws.ident("jti"), jws.text("htm"), jws.text("htu")
        self.by_delegator(jws)
        refuse(abs(jws.time("iat") - self.now) > WINDOW, "the delegator's proof is of another time than the record")
        return jws
    def at_token(self):
        jws = self.proof()
        refuse(jws.text("htm") != "POST" or not same_url(jws.text("htu"), self.issuer + "/oauth/token"), "the delegator's proof is not for the token endpoint")
        if "urn:remit:delegation" in jws.claims: self.covers(jws.claims["urn:remit:delegation"])
        else: self.custody.report.note("the delegator's proof does not itself name the delegate")
        return jws
    def statement(self):
        jws = Jws(self.hop.jws, ("delegation+jwt",))
        refuse(jws.audience() != self.issuer, "the statement is not addressed to this issuer")
        jws.current(self.now, jws.time("iat"), 30 * 24 * 3600)
        self.by_delegator(jws)
        jws.ident("jti")
        refuse(jws.ident("iss") != self.hop.delegator["sub"], "the statement is by another delegator")
        self.covers(jws.claims)
        return jws
    def at_call(self):
        jws, endpoint = self.proof(), self.parent.token.aud if self.parent.token is not None else None
        if jws.text("htm") != "POST" or (endpoint is not None and not same_url(jws.text("htu"), endpoint)):
            raise Wrong("the delegator's proof is not of a call to the delegate's endpoint")
        if hash_text(unb64u(jws.text("ath"))) != self.record.text("ext/token/subject_token_hash"):
            raise Wrong("the delegator's proof covers another token than the one exchanged")
        self.custody.report.note("the delegator's proof names the delegate only by its endpoint")
        return jws
    def covers(self, stated):
        """What was delegated is within what the delegator signed, to the one it names."""
        hop = self.hop
        refuse(not isinstance(stated, dict), "the proof's delegation is no object")
        if (stated["sub"], thumbprint(stated["cnf"]), stated["parent"]) != (hop.delegate["sub"], hop.jkt, self.parent_jti):
            raise Wrong("the delegator signed for another delegate, key or token")
        refuse(stated.get("purpose") is not None and stated["purpose"] != hop.purpose, "the delegator signed for another purpose")
        refuse(hop.expires > seconds(stated["exp"], "exp"), "the delegator signed for an earlier end")
        hop.authority.within(Authority(stated["authorization_details"]), "wider than the delegator signed for")

# --- Proofs in a file -------------------------------------------------------------------------------------------------
def check_proof(proof, entry, keys, policy):
    """The index that a tlog-proof shows for this entry."""
    parts = proof.split("\n\n", 1)
    lines = parts[0].split("\n")
    refuse(len(parts) != 2 or lines[0] != "c2sp.org/tlog-proof@v1", "not a tlog-proof")
    if len(lines) > 1 and lines[1].startswith("extra "): unbase64(lines.pop(1)[6:], "the extra data")
    refuse(len(lines) < 2 or not lines[1].startswith("index "), "the tlog-proof has no index")
    index, path, note = decimal(lines[1][6:]), [unbase64(line, "a hash") for line in lines[2:]], parts[1].encode()
    refuse(len(path) > 64 or any(len(step) != 32 for step in path), "a hash of the tlog-proof is not 32 bytes")
    known = [key for key in keys if any((name, ident) == (key.name, key.id) for name, ident, _ in parse_note(note)[1])]
    refuse(not known, "the checkpoint is not signed by a known log")
    _, size, root = open_checkpoint(note, known[0])
    refuse(policy is not None and not policy.met(note), "the policy's quorum of witnesses has not cosigned the checkpoint")
    refuse(root_from_inclusion(leaf_hash(entry), index, size, path) != root, "the proof does not lead from the entry to the checkpoint's root")
    return index
def check_field(value, keys, policy):
    """(record, path, value) that a field proof shows."""
    refuse(not isinstance(value, dict) or value.get("schema") != "remit.field-proof.v1", "not a field proof")
    entry = unbase64(value["entry"], "the entry")
    check_proof(value["proof"], entry, keys, policy)
    record, field = Record(entry), value["field"]
    refuse(record.recomputed_hash() != record.hash, "the record does not have the hash it states")
    shown = Field(field["path"], {name: field[name] for name in ("salt", "type", "value")}, {})
    leaf, padded = shown.leaf, record.at("commit/count_padded")
    siblings = [parse_hash(sibling) for sibling in value["siblings"]]
    if hash_text(root_from_inclusion(leaf, count(value["position"], padded), padded, siblings)) != record.text("commit/root"):
        raise Wrong("the field is not among what the record commits to")
    return record, field["path"], field["value"]

# --- Command line -----------------------------------------------------------------------------------------------------
def disclosure(text):
    """The keys of a disclosure file, by id."""
    value = parse_json(text, 64 << 20, members=1 << 22)
    refuse(not isinstance(value, dict) or value.get("schema") != "remit.disclosure.v1", "not a disclosure file")
    keys = {name: unb64u(key, "a key") for name, key in value["keys"].items()}
    refuse(any(len(key) != 32 for key in keys.values()), "a key of the disclosure file is not 32 bytes")
    return keys
def pinned_keys(text):
    """The auditor's keys of other issuers: by issuer, their thumbprints."""
    value = parse_json(text, 1 << 20, depth=8, members=65_536)
    refuse(not isinstance(value, dict) or not all(isinstance(jwks, dict) and "keys" in jwks for jwks in value.values()), "not a JSON object of issuers, each with its JWK set")
    return {issuer: {key.jkt for key in KeySet(jwks["keys"]).keys.values()} for issuer, jwks in value.items()}
def verify(folder, vkey=None, earlier=None, policy=None, keys=None, pinned=None):
    """Every check on a ledger folder: (report, records by index)."""
    report = Report()
    try: log = Log(folder, keys)
    except HOSTILE as error:
        report.fail("checkpoint", None, error)
        return report, {}
    records = verify_log(log, report, vkey, earlier, policy)
    custody = Custody(log, report, pinned)
    for index, record in records.items(): custody.visit(index, record)
    return report, records
def say(report, as_json, summary):
    if as_json: print(json.dumps(report.value(), ensure_ascii=False))
    else:
        for line in [*report.lines(), *report.root_lines(), *(f"note {note}" for note in report.notes), summary if report.ok() else "NOT VERIFIED"]:
            print("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line))
    return 0 if report.ok() else 1
def run_folder(options, policy):
    earlier = pathlib.Path(options.earlier).read_bytes() if options.earlier else None
    keys = disclosure(pathlib.Path(options.keys).read_bytes()) if options.keys else None
    pinned = pinned_keys(pathlib.Path(options.pinned_keys).read_bytes()) if options.pinned_keys else None
    report, records = verify(options.folder, options.vkey, earlier, policy, keys, pinned)
    if options.records and report.ok():
        for record in records.values(): print(jcs(record.value))
        return 0
    if not report.independent: report.note("no verifier key was given: this shows that the log is whole, not whose it is")
    undisclosed = f", {report.undisclosed} not disclosed" if report.undisclosed else ""
    summary = (
        f"VERIFIED: {report.records} records, {report.disclosed} with disclosed values{undisclosed}, {report.tokens} tokens, "
        f"{report.hops} hops signed by their delegators, {report.uses} uses traced, "
        f"{len(report.unknown)} intents without a known outcome; decisions were not made again"
    )
    return say(report, options.json, summary)
def run_proof(options, policy):
    report, summary = Report(), ""
    keys = [Key(options.vkey)] if options.vkey else policy.logs
    data = pathlib.Path(options.file).read_bytes()
    try:
        if data.lstrip().startswith(b"{"):
            record, path, value = check_field(parse_json(data, 16 << 20), keys, policy)
            summary = f"VERIFIED: record {record.id}: {path} is {jcs(value)}"
        elif options.entry:
            index = check_proof(data.decode("utf-8"), pathlib.Path(options.entry).read_bytes(), keys, policy)
            summary = f"VERIFIED: the entry is number {index} of the log"
        else: raise Wrong("a tlog-proof needs --entry, the record it is about")
    except HOSTILE as error: report.fail("proof", None, error)
    return say(report, options.json, summary)
def arguments(words_):
    parser = argparse.ArgumentParser(prog="verify.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    proof = bool(words_) and words_[0] == "proof"
    for name in ("file", "--entry") if proof else ("folder", "--earlier", "--keys", "--pinned-keys"): parser.add_argument(name)
    if not proof: parser.add_argument("--records", action="store_true", help="print the records when everything held")
    for name in ("--vkey", "--policy"): parser.add_argument(name)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(words_[proof:])
    if proof and not options.vkey and not options.policy: parser.error("give --vkey or --policy")
    return proof, options
def main(words_):
    proof, options = arguments(words_)
    try:
        policy = Policy(pathlib.Path(options.policy).read_text("utf-8")) if options.policy else None
        return run_proof(options, policy) if proof else run_folder(options, policy)
    except (Wrong, OSError, UnicodeDecodeError) as error:
        print(f"verify.py: {error}", file=sys.stderr)
        return 2

if __name__ == "__main__": sys.exit(main(sys.argv[1:]))
