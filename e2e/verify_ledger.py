"""A second opinion on a ledger directory, in another language, sharing no code with Remit.

Written from RFC 6962 (Merkle tree), RFC 8785 (canonical JSON), C2SP tlog-tiles, tlog-checkpoint and signed-note, and
docs/ledger-format.md. Needs Python 3.10 and `cryptography` for Ed25519.

    python verify_ledger.py DIRECTORY VERIFIER_KEY [--records]

Exit status 0: everything held. 1: one line for each thing that did not. 2: called wrongly. With --records, prints every
record as one line of JSON when everything held.
"""

import base64
import binascii
import hashlib
import json
import pathlib
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

WIDTH = 256


class Wrong(Exception):
    """Something in the directory is not as it must be."""


def sha256(data):
    return hashlib.sha256(data).digest()


def unbase64(text, what):
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise Wrong(f"{what} is not base64: {error}") from None
    if base64.b64encode(data).decode() != text:
        raise Wrong(f"{what} is not the one spelling of its base64")
    return data


# --- C2SP signed-note -------------------------------------------------------------------------------------------------


def verifier(vkey):
    """`name+keyid+base64(type || key)` as (name, key id, public key)."""
    parts = vkey.split("+", 2)
    if len(parts) != 3:
        raise Wrong("the verifier key is not name+id+key")
    name, ident, rest = parts[0], parts[1], unbase64(parts[2], "the verifier key")
    if len(rest) != 33 or rest[0] != 1:
        raise Wrong("the verifier key is not Ed25519")
    expected = sha256(name.encode() + b"\n" + rest)[:4]
    if ident != expected.hex():
        raise Wrong("the verifier key's id does not fit its name and key")
    return name, expected, rest[1:]


def open_note(note, vkey):
    """The text of a signed note, once our key's signature on it holds."""
    name, ident, public = verifier(vkey)
    split = note.rfind(b"\n\n")
    if split < 0 or not note.endswith(b"\n"):
        raise Wrong("the checkpoint is not a signed note")
    text, lines = note[: split + 1], note[split + 2 : -1].decode("utf-8").split("\n")
    for line in lines:
        words = line.split(" ")
        if len(words) != 3 or words[0] != "\u2014":
            raise Wrong("the checkpoint has a malformed signature line")
        signature = unbase64(words[2], "a signature")
        if words[1] != name or signature[:4] != ident:
            continue
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(signature[4:], text)
        except InvalidSignature:
            raise Wrong("the checkpoint's signature does not verify") from None
        return text.decode("utf-8")
    raise Wrong("the checkpoint is not signed by the given key")


# --- C2SP tlog-checkpoint ---------------------------------------------------------------------------------------------


def checkpoint(directory, vkey):
    """(tree size, root hash) of the signed checkpoint."""
    try:
        note = (directory / "checkpoint").read_bytes()
    except OSError as error:
        raise Wrong(f"the checkpoint cannot be read: {error.strerror}") from None
    lines = open_note(note, vkey).split("\n")
    if len(lines) < 4 or lines[-1] != "":
        raise Wrong("the checkpoint has too few lines")
    if lines[0] != verifier(vkey)[0]:
        raise Wrong(f"the checkpoint is of another log, {lines[0]}")
    if not lines[1].isascii() or not lines[1].isdigit() or (lines[1][0] == "0" and lines[1] != "0"):
        raise Wrong("the checkpoint's size is not a plain decimal")
    root = unbase64(lines[2], "the root hash")
    if len(root) != 32:
        raise Wrong("the root hash is not 32 bytes")
    return int(lines[1]), root


# --- C2SP tlog-tiles --------------------------------------------------------------------------------------------------


def tile_path(level, number, width):
    groups = [f"{number % 1000:03}"]
    while number >= 1000:
        number //= 1000
        groups.insert(0, f"x{number % 1000:03}")
    return "/".join(["tile", str(level), *groups]) + ("" if width == WIDTH else f".p/{width}")


def read_tile(directory, level, number, width):
    """A tile's bytes; a partial one may since have been replaced by the full one."""
    for path in dict.fromkeys([tile_path(level, number, width), tile_path(level, number, WIDTH)]):
        if (directory / path).is_file():
            return (directory / path).read_bytes()
    raise Wrong(f"{tile_path(level, number, width)} is missing")


def widths(places):
    """(number, width) of each tile that holds `places` places."""
    for number in range((places + WIDTH - 1) // WIDTH):
        yield number, min(WIDTH, places - number * WIDTH)


def entries(directory, size):
    for number, width in widths(size):
        bundle, at, count = read_tile(directory, "entries", number, width), 0, 0
        while at < len(bundle):
            length = int.from_bytes(bundle[at : at + 2], "big")
            entry = bundle[at + 2 : at + 2 + length]
            if at + 2 > len(bundle) or len(entry) != length:
                raise Wrong(f"{tile_path('entries', number, width)} is cut short")
            at += 2 + length
            count += 1
            if count <= width:
                yield entry
        if count not in (width, WIDTH):
            raise Wrong(f"{tile_path('entries', number, width)} holds {count} entries, not {width}")


# --- RFC 6962, section 2.1 --------------------------------------------------------------------------------------------


def node(left, right):
    return sha256(b"\x01" + left + right)


def root_of(leaves):
    """Merkle tree hash: full subtrees kept on a stack, folded from the right."""
    stack = []
    for leaf in leaves:
        height = 0
        while stack and stack[-1][0] == height:
            leaf = node(stack.pop()[1], leaf)
            height += 1
        stack.append((height, leaf))
    if not stack:
        return sha256(b"")
    root = stack.pop()[1]
    while stack:
        root = node(stack.pop()[1], root)
    return root


def check_hash_tiles(directory, leaves):
    """Every stored tile of hashes is what the entries make it."""
    level, hashes = 0, leaves
    while hashes:
        for number, width in widths(len(hashes)):
            expected = b"".join(hashes[number * WIDTH : number * WIDTH + width])
            if read_tile(directory, level, number, width)[: len(expected)] != expected:
                raise Wrong(f"{tile_path(level, number, width)} does not follow from the entries")
        full = len(hashes) // WIDTH
        hashes = [root_of(hashes[at * WIDTH : (at + 1) * WIDTH]) for at in range(full)]
        level += 1


# --- docs/ledger-format.md --------------------------------------------------------------------------------------------


def unique_members(pairs):
    members = dict(pairs)
    if len(members) != len(pairs):
        raise Wrong("a record names a member twice")
    return members


def number(value):
    """A double as ECMAScript prints it."""
    if value == int(value) and abs(value) < 1e21:
        return str(int(value))
    mantissa, _, exponent = repr(value).partition("e")
    power = int(exponent or 0)
    if -7 < power < 0:
        digits = mantissa.replace(".", "").lstrip("-")
        return ("-" if value < 0 else "") + "0." + "0" * (-power - 1) + digits
    return mantissa + (f"e{power:+d}" if power else "")


def canonical(value):
    """RFC 8785, member by member."""
    if isinstance(value, float):
        return number(value)
    if isinstance(value, dict):
        ordered = sorted(value.items(), key=lambda member: member[0].encode("utf-16-be"))
        return "{" + ",".join(f"{canonical(name)}:{canonical(member)}" for name, member in ordered) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def parse_strict(text, what):
    try:
        return json.loads(text, object_pairs_hook=unique_members)
    except ValueError as error:
        raise Wrong(f"{what} is not JSON: {error}") from None


def hash_text(digest):
    return "sha-256:" + digest.hex()


def unbase64url(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def parse_record(index, entry):
    record = parse_strict(entry, f"record {index}")
    if canonical(record).encode() != entry:
        raise Wrong(f"record {index} is not canonical JSON")
    if record.get("schema") != "agent.audit.v1":
        raise Wrong(f"record {index} has another schema")
    hashed = {name: member for name, member in record.items() if name not in ("record_hash", "sigs", "log")}
    if record["record_hash"] != hash_text(sha256(canonical(hashed).encode())):
        raise Wrong(f"record {index} does not hash to its record_hash")
    return record


def is_start(record):
    return record["record_type"] == "log_control" and record["action"]["name"] == "start"


class Sequence:
    """The records of one producer: gapless, chained, signed by the key that the epoch's start record states."""

    def __init__(self):
        self.last, self.key, self.kid = None, None, None

    def follow(self, index, record):
        epoch, seq = int(record["producer"]["epoch"]), int(record["seq"])
        if is_start(record) != (seq == 0):
            raise Wrong(f"record {index}: sequence 0 and start records must be the same")
        if self.last is None:
            expected = (1, 0, hash_text(bytes(32)))
        elif seq == 0:
            expected = (int(self.last["producer"]["epoch"]) + 1, 0, self.last["record_hash"])
        else:
            expected = (int(self.last["producer"]["epoch"]), int(self.last["seq"]) + 1, self.last["record_hash"])
        if (epoch, seq, record["prev_hash"]) != expected:
            raise Wrong(f"record {index} does not follow the one before it")
        if seq == 0:
            jwk = record["ext"]["keys"]["record"]
            self.key = Ed25519PublicKey.from_public_bytes(unbase64url(jwk["x"]))
            # RFC 7638: required members, in order, without spaces.
            thumbprint = sha256(canonical({"crv": jwk["crv"], "kty": jwk["kty"], "x": jwk["x"]}).encode())
            self.kid = base64.urlsafe_b64encode(thumbprint).rstrip(b"=").decode()
        self.check_signature(index, record)
        self.last = record

    def check_signature(self, index, record):
        ours = [sig for sig in record["sigs"] if (sig["role"], sig["alg"], sig["kid"]) == ("producer", "ed25519", self.kid)]
        if not ours:
            raise Wrong(f"record {index} is not signed by its producer's key")
        try:
            self.key.verify(unbase64url(ours[0]["value"]), f"agent.audit.v1 record\n{record['record_hash']}".encode())
        except InvalidSignature:
            raise Wrong(f"record {index}'s signature does not verify") from None


def check_outcomes(records):
    """Each effect belongs to one earlier intent; returns how many intents have no recorded outcome."""
    open_intents, closed = set(), set()
    for index, record in enumerate(records):
        if record["record_type"] == "intent":
            open_intents.add(record["record_id"])
        if record["record_type"] == "effect":
            if record["intent_id"] not in open_intents or record["intent_id"] in closed:
                raise Wrong(f"record {index} is the effect of no open intent")
            closed.add(record["intent_id"])
    return len(open_intents - closed)


# Where an opening's leaf must also be found in the record.
BOUND = {
    "/call/arguments": lambda record: record["request"]["hash"],
    "/response/body": lambda record: record["response"]["hash"],
    "/decision/input": lambda record: record["decision"]["input_hash"],
}


def leaf_of(path, field):
    if "leaf" in field:
        return bytes.fromhex(field["leaf"].removeprefix("sha-256:"))
    return sha256(b"\x00" + canonical([field["salt"], path, field["type"], field["value"]]).encode())


def check_edges(record, opened):
    """A disclosed edge proof is the one whose hash the chain's node names; the origin, node 0, has no delegator."""
    for at, node_ in enumerate(record["chain"][1:], start=1):
        edge = opened["fields"].get(f"/chain/{at}/edge", {})
        if "value" in edge and node_.get("edge_proof") != hash_text(sha256(edge["value"]["jws"].encode())):
            raise Wrong(f"record {opened['index']}: the edge proof of node {at} is another one")


def check_openings(directory, records):
    """Every disclosed value is the one the record committed to; what is withheld is no failure. Returns how many lines."""
    count = 0
    for number, _ in widths(len(records)):
        file = directory / tile_path("side", number, WIDTH).removeprefix("tile/")
        if not file.is_file():
            continue
        for line in file.read_text("utf-8").splitlines():
            opened = parse_strict(line, f"a line of {file.name}")
            if int(opened["index"]) >= len(records):
                continue
            record = records[int(opened["index"])]
            fields = sorted(opened["fields"].items(), key=lambda field: field[0].encode())
            leaves = [leaf_of(path, field) for path, field in fields]
            for (path, _), leaf in zip(fields, leaves):
                if path in BOUND and BOUND[path](record) != hash_text(leaf):
                    raise Wrong(f"record {opened['index']}: {path} is not what the record says")
            check_edges(record, opened)
            leaves += [bytes.fromhex(decoy.removeprefix("sha-256:")) for decoy in opened["decoys"]]
            if (len(leaves), hash_text(root_of(leaves))) != (record["commit"]["count_padded"], record["commit"]["root"]):
                raise Wrong(f"record {opened['index']}: its openings do not make its commitment")
            count += 1
    return count


def verify(directory, vkey):
    """The ledger's records, with how many were disclosed and how many intents are open, once everything held."""
    size, root = checkpoint(directory, vkey)
    raw = list(entries(directory, size))
    leaves = [sha256(b"\x00" + entry) for entry in raw]
    if root_of(leaves) != root:
        raise Wrong("the entries do not make the root that the checkpoint signs")
    check_hash_tiles(directory, leaves)
    records = [parse_record(index, entry) for index, entry in enumerate(raw)]
    producers = {}
    for index, record in enumerate(records):
        producers.setdefault(record["producer"]["id"], Sequence()).follow(index, record)
    return records, check_openings(directory, records), check_outcomes(records)


def main(arguments):
    flags, words = [a for a in arguments if a.startswith("--")], [a for a in arguments if not a.startswith("--")]
    if len(words) != 2 or flags not in ([], ["--records"]):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        records, disclosed, unknown = verify(pathlib.Path(words[0]), words[1])
    except KeyError as missing:
        print(f"FAILED: a record lacks {missing}", file=sys.stderr)
        return 1
    except (Wrong, ValueError, TypeError, AttributeError, ArithmeticError) as wrong:
        print(f"FAILED: {wrong}", file=sys.stderr)
        return 1
    if flags:
        for record in records:
            print(canonical(record))
    else:
        print(f"good: {len(records)} records, {disclosed} with disclosed values, {unknown} intents without a known outcome")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
