"""The corpus: honest ledgers, and attacked ones by what was done to them, each with the check that must catch it.

Nothing is random: all follows from the names in world.py.
Three kinds of attacker: an outsider changes files; one with the log's key rebuilds tree and checkpoint over changed entries;
an insider with every key of the server also signs the records, so that only their meaning gives them away. Who is beyond all
of these, because history was rewritten consistently, is caught by a checkpoint that somebody kept.
"""

import base64
import copy
import json

import verify as v
import world as w

CASES = []


def case(name, expect, found, index=None, **options):
    """`expect` names the checks of which one must fail (at record `index`, when given); none for an honest ledger."""
    names = expect.split() if isinstance(expect, str) else expect
    CASES.append(({"name": name, "expect": names, "index": index, "vkey": w.VKEY} | options, found))


def sides(rows, **how):
    return [row.side(index, **how) for index, row in enumerate(rows)]


def insider(name, expect, world, index=-1, since=0, **options):
    """The last record (or another) was written by somebody who has every key of the server."""
    rows = world.rows
    at = None if index is None else index % len(rows)
    case("insider: " + name, expect, w.files(w.sealed_entries(rows, since), sides(rows)), at, **options)


def small():
    world = w.World()
    world.register("planner")
    world.register("summarizer")
    return world


def signed_in():
    world = small()
    return world, world.login()


def history():
    """A little of everything."""
    world, planner = signed_in()
    child = world.hand("statement", planner)
    world.call(child)
    own = world.own()
    intent = world.call(own, ("refund_create", "payment"), "intent")
    world.call(own, ("refund_create", "payment"), "effect", intent_id=world.id(intent))
    world.record("log_access", action=("records.read", "read"))
    return world


HISTORY = history()
ENTRIES = w.sealed_entries(HISTORY.rows)
SIDES = sides(HISTORY.rows)
FILES = w.files(ENTRIES, SIDES)
LAST = len(ENTRIES) - 1

# --- Honest -----------------------------------------------------------------------------------------------------------


def honest():
    case("honest: a whole copy", "", FILES)
    case("honest: no openings", "", {path: data for path, data in FILES.items() if not path.startswith("side/")})
    case("honest: everything erased", "", w.files(ENTRIES, sides(HISTORY.rows, closed="all")))
    case("honest: names withheld", "", w.files(ENTRIES, sides(HISTORY.rows, closed=("/chain/0/subject", "/call/arguments"))))
    case("honest: some lines missing", "", w.files(ENTRIES, [side if at % 2 else None for at, side in enumerate(SIDES)]))
    case("honest: other files about", "", FILES | {"lock": b"", "checkpoint.tmp": b"x", "objects/readme": b"x"})
    case("honest: a signature by a stranger", "", FILES | {"checkpoint": FILES["checkpoint"] + stranger()})
    case("honest: a kept checkpoint", "", FILES, earlier=text64(w.checkpoint(ENTRIES[:3])))
    longer = dict(FILES, checkpoint=w.checkpoint(ENTRIES[:-1])) | {
        path: data for path, data in w.files(ENTRIES[:-1], SIDES[:-1]).items() if path.startswith("tile/")
    }
    case("honest: files reach further than the checkpoint", "", longer)
    for name, keys in KEYRINGS.items():
        case(f"honest: sealed, {name}", "", SEALED, keys=keys)
    world = history()
    world.restart()
    world.call(world.own())
    case("honest: a second epoch", "", w.files(w.sealed_entries(world.rows), sides(world.rows)))
    for ways in (("named", "unstated"), ("statement", "call")):
        world, planner = signed_in()
        for way in ways:
            for parent in (planner, world.again(planner, False), world.again(planner, True)):
                world.call(world.hand(way, parent))
        insider(f"honest after all: hops {ways}", "", world, None)
    big = bulk(300)
    case("honest: more than one tile", "", big)
    case("honest: a full tile where a partial one is due", "", {path.replace(".p/44", ".p/43") if ".p/44" in path else path: data for path, data in bulk(300).items()} | big)
    case("honest: exactly one tile", "", bulk(256))


def text64(data):
    return base64.b64encode(data).decode()


def stranger():
    return w.note("x\n", w.Signer("stranger"), "stranger").split(b"\n\n")[1]


KEYS = {"k:" + v.b64u(w.sha(name)[:16]): w.sha("secret " + name) for name in ("alice", "ticket")}
BOXED = copy.deepcopy(HISTORY.rows)
for row in BOXED:
    row.record["commit"]["key_ids"] = sorted(KEYS)
BOXED_ENTRIES, BOXED_SIDES = w.sealed_entries(BOXED), sides(BOXED, sealed=KEYS)
SEALED = w.files(BOXED_ENTRIES, BOXED_SIDES)
DISCLOSED = {name: v.b64u(key) for name, key in KEYS.items()}
KEYRINGS = {"no keys": {}, "every key": DISCLOSED, "half of the keys": dict(list(DISCLOSED.items())[:1])}


def bulk(size):
    """Many plain records; only for tiles."""
    world = w.World()
    while len(world.rows) < size:
        world.record("log_access", action=("records.read", "read"))
    return w.files(w.sealed_entries(world.rows), [None] * size)


# --- An outsider changes files ----------------------------------------------------------------------------------------


def flip(data, place, bit=1):
    return data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :]


def outsider():
    for path, data in FILES.items():
        expect = {"checkpoint": "checkpoint tree", "side": "commitments", "objects": "objects"}.get(path.split("/")[0], "tiles tree")
        for place in {0, len(data) // 2, len(data) - 1}:
            case(f"outsider: a bit of {path.split('/p/')[0]} at {place}", expect, FILES | {path: flip(data, place)})
        if not path.startswith("side/"):
            case(f"outsider: {path} missing", expect, {name: data for name, data in FILES.items() if name != path})
        case(f"outsider: {path} emptied", "" if path.startswith("side/") else expect, FILES | {path: b""})
        if path.startswith("tile/"):
            case(f"outsider: {path} cut short", expect, FILES | {path: data[:-1]})
            case(f"outsider: {path} with more behind", expect, FILES | {path: data + bytes(32)})
    big = bulk(300)
    for path, data in big.items():
        if path.startswith("tile/"):
            case(f"outsider: a bit of {path} of a long log", "tiles tree", big | {path: flip(data, len(data) // 2)})
    checkpoints()


def checkpoints():
    good = FILES["checkpoint"].decode()
    origin, size, root, blank, line, _ = good.split("\n")
    other = w.Signer("another log")
    spoilt = {
        "size less by one": "\n".join([origin, str(int(size) - 1), root, blank, line, ""]),
        "size more by one": "\n".join([origin, str(int(size) + 1), root, blank, line, ""]),
        "another root": "\n".join([origin, size, text64(w.sha("x")), blank, line, ""]),
        "another origin": "\n".join(["other.example/log", size, root, blank, line, ""]),
        "an extension line": "\n".join([origin, size, root, "x", blank, line, ""]),
        "CRLF": good.replace("\n", "\r\n"),
        "no last newline": good[:-1],
        "no signature": "\n".join([origin, size, root, ""]),
        "no blank line": good.replace("\n\n", "\n"),
        "text behind": good + "x\n",
        "a hyphen for the dash": good.replace("\u2014", "-"),
        "a signature not in base64": good.replace(line, line[:-4] + "****"),
        "a signature cut short": good.replace(line, line[:-8]),
        "a leading zero": note(origin, "0" + size, root),
        "a plus sign": note(origin, "+" + size, root),
        "a negative size": note(origin, "-1", root),
        "an empty log with a root": note(origin, "0", root),
        "a root of 31 bytes": note(origin, size, text64(bytes(31))),
        "no origin": note("", size, root),
        "another log's key": w.note(f"{origin}\n{size}\n{root}\n", other).decode(),
        "another log's key besides a bad one": good.replace(line, line[:-6] + "AAAA=="),
        "a forged size": w.checkpoint(ENTRIES, size=2**63).decode(),
        "nothing": "",
        "not UTF-8": None,
    }
    for name, text in spoilt.items():
        data = b"\xff\xfe" if text is None else text.encode()
        case(f"outsider: checkpoint with {name}", "checkpoint tree", FILES | {"checkpoint": data})
    case("outsider: another key is trusted", "checkpoint", FILES, vkey=other.vkey(w.ORIGIN))
    case("outsider: the key under another name", "checkpoint", FILES, vkey=w.LOG.vkey("other.example/log"))
    case("outsider: a key that is none", "checkpoint", FILES, vkey="nonsense")


def note(origin, size, root):
    return w.note(f"{origin}\n{size}\n{root}\n", w.LOG).decode()


# --- One with the log's key rebuilds the tree -------------------------------------------------------------------------


def rebuilt(name, expect, entries, index=None, **options):
    case("rebuilt: " + name, expect, w.files(entries, SIDES), index, **options)


def paths(value, at=()):
    """Every way to a value without parts."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if not isinstance(value, (dict, list)):
        yield at
    for name, member in inner:
        yield from paths(member, (*at, name))


def flipped(value):
    """The value with one bit turned."""
    if isinstance(value, str):
        return value[:-1] + chr(ord(value[-1]) ^ 1) if value else "\x01"
    return {bool: lambda: not value, int: lambda: value ^ 1}.get(type(value), lambda: True)()


def with_member(record, way, change):
    """A copy of the record, one member of it changed."""
    record = copy.deepcopy(record)
    place = record
    for name in way[:-1]:
        place = place[name]
    change(place, way[-1])
    return record


def flips():
    """One bit in every kind of member of a record of every type; then the same with the hash made to fit."""
    seen = set()
    for index, row in enumerate(HISTORY.rows):
        for way in paths(row.record):
            kind = (row.record["record_type"], *("*" if isinstance(name, int) else name for name in way))
            if kind in seen:
                continue
            seen.add(kind)
            changed = with_member(row.record, way, lambda place, name: place.__setitem__(name, flipped(place[name])))
            entry = v.canonical(changed)
            named = ".".join(map(str, way))
            rebuilt(f"a bit of {named} of {kind[0]}", "record_hash canonical signature", [*ENTRIES[:index], entry, *ENTRIES[index + 1 :]], index)
            if len(seen) % 4 == 0 and way[0] not in ("record_hash", "sigs"):
                changed["record_hash"] = v.digest({name: member for name, member in changed.items() if name not in ("record_hash", "sigs")})
                rebuilt(f"a bit of {named} of {kind[0]}, hash made to fit", "signature canonical", [*ENTRIES[:index], v.canonical(changed), *ENTRIES[index + 1 :]], index)


def order():
    rebuilt("a record deleted", "sequence", ENTRIES[:3] + ENTRIES[4:], 3)
    rebuilt("the first record deleted", "sequence", ENTRIES[1:], 0)
    rebuilt("a record inserted again", "sequence", [*ENTRIES[:4], ENTRIES[2], *ENTRIES[4:]], 4)
    rebuilt("two records exchanged", "sequence", [*ENTRIES[:3], ENTRIES[4], ENTRIES[3], *ENTRIES[5:]], 3)
    rebuilt("all records reversed", "sequence", ENTRIES[::-1], 0)
    foreign = w.sealed_entries([copy.deepcopy(row) for row in HISTORY.rows], signer=w.Signer("foreign"))
    rebuilt("a record of another key inserted", "signature", [*ENTRIES[:4], foreign[4], *ENTRIES[5:]], 4)
    rebuilt("every record signed by another key than stated", "signature", foreign, 0)
    kept = text64(FILES["checkpoint"])
    rebuilt("the tail cut off, a checkpoint was kept", "extension", ENTRIES[:-2], earlier=kept)
    fork = copy.deepcopy(HISTORY)
    fork.rows[5].record["owner_ref"] = "another"
    case("rebuilt: history rewritten, a checkpoint was kept", "extension", w.files(w.sealed_entries(fork.rows), SIDES), earlier=kept)
    fork.rows[-1].record["tenant_id"] = "other"
    case("rebuilt: a fork at the end, a checkpoint was kept", "extension", w.files(w.sealed_entries(fork.rows), SIDES), earlier=kept)
    rebuilt("a kept checkpoint of another log", "extension", ENTRIES, earlier=text64(w.note("x\n1\n\n", w.Signer("x"), "x")))
    rebuilt("a kept checkpoint that is none", "extension", ENTRIES, earlier=text64(b"x"))


def text_attacks():
    """Entries that are no records, or not in the one form of theirs."""
    entry, record = ENTRIES[4], json.loads(ENTRIES[4])
    spoilt = {
        "nothing": b"",
        "not UTF-8": b"\xff" * 40,
        "no object": b"[]",
        "another schema": entry.replace(b"agent.audit.v1", b"agent.audit.v2"),
        "a space": entry.replace(b":", b": ", 1),
        "a newline behind": entry + b"\n",
        "members in another order": json.dumps(dict(reversed(record.items())), separators=(",", ":")).encode(),
        "an escaped letter": entry.replace(b"agent.audit", b"\\u0061gent.audit", 1),
        "a member twice": b'{"action":{},' + entry[1:],
        "a number with a fraction": entry.replace(b'"chain_depth":', b'"chain_depth":1.0,"x":'),
        "a depth that is no integer": v.canonical(record | {"chain_depth": 2.5}),
        "an integer beyond 2^53": entry.replace(b'"chain_depth":', b'"x":9007199254740993,"chain_depth":'),
        "half a surrogate pair": entry.replace(b'"main"', b'"\\ud800"'),
        "NaN": entry.replace(b'"chain_depth":', b'"x":NaN,"chain_depth":'),
        "deep nesting": v.canonical(record | {"zz": json.loads("[" * 40 + "]" * 40)}),
        "a NUL in a name": v.canonical(record | {"a\0": 1}),
        "a leading zero in seq": v.canonical(record | {"seq": "04"}),
        "a sign in seq": v.canonical(record | {"seq": "+4"}),
        "a seq beyond 64 bits": v.canonical(record | {"seq": "18446744073709551616"}),
        "a hash in capitals": v.canonical(record | {"prev_hash": record["prev_hash"].upper()}),
        "an empty chain": v.canonical(record | {"chain": [], "chain_depth": 0}),
        "a depth that is not the chain's": v.canonical(record | {"chain_depth": 7}),
        "a wall that is not wall_ns": v.canonical(record | {"time": record["time"] | {"wall": "2026-01-01T00:00:00.000000000Z"}}),
        "a logical clock in two parts": v.canonical(record | {"time": record["time"] | {"hlc": "1.2"}}),
    }
    for name, data in spoilt.items():
        rebuilt(f"an entry with {name}", "canonical", [*ENTRIES[:4], data, *ENTRIES[5:]], 4)
    for pointer in v.TEXTS:
        way = [int(name) if name.isdigit() else name for name in pointer.split("/")]
        changed = with_member(record, way, lambda place, name: place.pop(name))
        rebuilt(f"an entry without {pointer}", "canonical", [*ENTRIES[:4], v.canonical(changed), *ENTRIES[5:]], 4)


# --- An insider signs everything --------------------------------------------------------------------------------------


def member(name, expect, change):
    """A call whose record the insider spoils before it is signed."""
    world, planner = signed_in()
    row = world.rows[world.call(planner)]
    change(row.record)
    insider(name, expect, world)


def members():
    for pointer in v.WORDS:
        way = [0 if name == "*" else name for name in pointer.split("/")]
        member(f"a word nobody knows at {pointer}", "members", lambda record: with_member_in(record, way, "bogus"))
    for pointer in v.HASHES:
        way = [(1 if "edge" in pointer or "cnf" in pointer or "token" in pointer else 0) if name == "*" else name for name in pointer.split("/")]
        member(f"no hash at {pointer}", "members commitments", lambda record: with_member_in(record, way, "sha-256:0"))
    member("another producer's chain_uid", "members", lambda record: record.update(chain_uid="chain:" + "0" * 32))
    member("another producer's clock", "members", lambda record: record["time"].update(hlc=record["time"]["hlc"][:-8] + "00000000"))
    member("an edge proof at the origin", "members", lambda record: record["chain"][0].update(edge_proof=None))
    member("a party without edge proof", "members", lambda record: record["chain"][1].pop("edge_proof"))
    member("a party without pseudonym", "members custody", lambda record: record["chain"][1].pop("subject_ref"))
    member("a resource without classification", "members", lambda record: record["resource"][0].pop("classification"))
    member("a hold that is no boolean", "members", lambda record: record["retention"].update(legal_hold="no"))


def with_member_in(record, way, value):
    for name in way[:-1]:
        record = record[name] if isinstance(record, list) else record.setdefault(name, {})
    record[way[-1]] = value


def sequence():
    for name, change in {
        "a gap in seq": {"seq": "9"},
        "an epoch of its own": {"producer": {"epoch": "2"}},
        "an epoch skipped": {"producer": {"epoch": "3"}, "seq": "0"},
        "seq from the start": {"seq": "0"},
    }.items():
        world, planner = signed_in()
        record = world.rows[world.call(planner)].record
        record["producer"] |= change.get("producer", {})
        record["seq"] = change.get("seq", record["seq"])
        insider(name, "sequence", world)
    world = small()
    world.start()
    insider("a start record inside an epoch", "sequence", world)
    world, planner = signed_in()
    world.call(planner)
    entries = w.sealed_entries(world.rows)
    world.rows[-1].record["prev_hash"] = v.ZERO
    w.sign(world.rows[-1].record)
    case("insider: a predecessor that is not", "sequence", w.files([*entries[:-1], v.canonical(world.rows[-1].record)], sides(world.rows)), len(entries) - 1)
    removed = history()
    del removed.rows[4]
    for index, row in enumerate(removed.rows):
        row.record["seq"] = str(index)
    case("insider: a record removed and the rest renumbered, a checkpoint was kept", "extension", w.files(w.sealed_entries(removed.rows), sides(removed.rows)), earlier=text64(w.checkpoint(ENTRIES[:8])))
    for name, change in {
        "a signature by the log's key": lambda record: w.sign(record, w.LOG),
        "a signature in another role": lambda record: record["sigs"][0].update(role="witness"),
        "a signature under another algorithm": lambda record: record["sigs"][0].update(alg="es256"),
        "a signature under another name": lambda record: record["sigs"][0].update(kid=w.LOG.jkt),
        "a signature cut short": lambda record: record["sigs"][0].update(value=record["sigs"][0]["value"][:-2]),
        "a signature of another record": lambda record: record["sigs"][0].update(value=json.loads(ENTRIES[3])["sigs"][0]["value"]),
    }.items():
        world, planner = signed_in()
        world.call(planner)
        entries = w.sealed_entries(world.rows)
        change(world.rows[-1].record)
        case("insider: " + name, "signature", w.files([*entries[:-1], v.canonical(world.rows[-1].record)], sides(world.rows)), len(entries) - 1)
    world = w.World()
    world.rows[0].record["ext"]["keys"]["record"]["kid"] = "another"
    insider("a key that goes by another name", "signature", world)


def time():
    member("a record_id of another time", "time", lambda record: record.update(record_id=record["record_id"][:7] + "0" + record["record_id"][8:]))
    member("a record_id of another version", "time", lambda record: record.update(record_id=record["record_id"][:14] + "4" + record["record_id"][15:]))
    member("a logical clock that stands", "time", lambda record: record["time"].update(hlc=HISTORY.rows[3].record["time"]["hlc"]))
    member("a monotonic clock that goes back", "time", lambda record: record["time"].update(mono_ns="1"))
    member("an effect that ends before it begins", "time", lambda record: record["time"].update(start_ns="2", end_ns="1"))


def commitments():
    rows = HISTORY.rows
    at = next(index for index, row in enumerate(rows) if row.record["record_type"] == "decision")
    line = json.loads(SIDES[at])

    def spoil(name, change, expect="commitments"):
        changed = copy.deepcopy(line)
        change(changed)
        case(f"outsider: openings with {name}", expect, w.files(ENTRIES, [*SIDES[:at], v.canonical(changed), *SIDES[at + 1 :]]), at)

    arguments = lambda side: side["fields"]["/call/arguments"]
    spoil("another value", lambda side: arguments(side)["value"].update(amount=6))
    spoil("another salt", lambda side: arguments(side).update(salt="x"))
    spoil("another type", lambda side: arguments(side).update(type="array"))
    spoil("another leaf", lambda side: side["fields"].update({"/call/arguments": {"leaf": v.ZERO}}))
    spoil("a path renamed", lambda side: side["fields"].update({"/call/other": side["fields"].pop("/call/arguments")}))
    spoil("a value missing", lambda side: side["fields"].pop("/decision/input"))
    spoil("a value more", lambda side: side["fields"].update({"/x": {"leaf": v.ZERO}}))
    spoil("another decoy", lambda side: side["decoys"].append(v.ZERO))
    spoil("two values exchanged", lambda side: side["fields"].update({"/call/arguments": side["fields"]["/response/body"], "/response/body": arguments(side)}))
    case("outsider: openings of another record", "commitments", w.files(ENTRIES, [*SIDES[:at], SIDES[at].replace(b'"index":"%d"' % at, b'"index":"1"'), *SIDES[at + 1 :]]))
    for name, text in {
        "an unknown member": SIDES[at][:-1] + b',"x":1}',
        "an unknown kind of field": SIDES[at].replace(b'"type"', b'"kind"', 1),
        "no index": SIDES[at].replace(b',"index":"%d"' % at, b""),
        "the index of another bundle": SIDES[at].replace(b'"index":"%d"' % at, b'"index":"900"'),
        "no JSON": b"{",
        "a line twice": SIDES[at] + b"\n" + SIDES[at],
    }.items():
        case(f"outsider: a line of openings with {name}", "commitments", w.files(ENTRIES, [*SIDES[:at], text, *SIDES[at + 1 :]]))
    for name, change in {
        "another root": lambda record: record["commit"].update(root=v.ZERO),
        "another count": lambda record: record["commit"].update(count_padded=4),
        "a request hash of something else": lambda record: record["request"].update(hash=v.ZERO),
        "a response hash of something else": lambda record: record["response"].update(hash=v.ZERO),
        "an input hash of something else": lambda record: record["decision"].update(input_hash=v.ZERO),
        "no input hash": lambda record: record["decision"].pop("input_hash"),
    }.items():
        member(f"commitments with {name}", "commitments", change)
    sealed_line = json.loads(BOXED_SIDES[at])
    for name, change in {
        "a bit turned": lambda field: field.update(sealed=field["sealed"][:-3] + ("A" if field["sealed"][-3] != "A" else "B") + field["sealed"][-2:]),
        "another leaf": lambda field: field.update(leaf=v.ZERO),
        "nothing inside": lambda field: field.update(sealed=""),
        "keys out of order": lambda field: field["keys"].reverse(),
        "no keys": lambda field: field.update(keys=[]),
        "a key that is none": lambda field: field.update(keys=["k:x"]),
    }.items():
        changed = copy.deepcopy(sealed_line)
        change(changed["fields"]["/call/arguments"])
        found = w.files(BOXED_ENTRIES, [*BOXED_SIDES[:at], v.canonical(changed), *BOXED_SIDES[at + 1 :]])
        case(f"outsider: a sealed value with {name}", "commitments", found, keys=DISCLOSED)
    case("insider: values sealed under keys the record does not name", "commitments", w.files(ENTRIES, sides(rows, sealed=KEYS)))
    wrong = {name: v.b64u(w.sha("no key")) for name in KEYS}
    case("outsider: sealed values under other keys", "commitments custody", SEALED, keys=wrong)


def intents():
    for name, change in {
        "of no intent": lambda world, call, intent: call("effect", intent_id="0190f8f0-0000-7000-8000-000000000000"),
        "without naming one": lambda world, call, intent: call("effect"),
        "twice": lambda world, call, intent: [call("effect", intent_id=world.id(intent)) for _ in range(2)],
        "of another action": lambda world, call, intent: call("effect", action=("admin_purge", "admin"), intent_id=world.id(intent)),
        "of another chain": lambda world, call, intent: world.call(world.own(), kind="effect", intent_id=world.id(intent)),
    }.items():
        world = small()
        own = world.own()
        call = lambda kind, **more: world.call(own, kind=kind, **more)
        change(world, call, call("intent"))
        insider(f"an effect {name}", "intents", world)


def objects():
    for name in ("policy_set_digest", "schema_digest"):
        member(f"a wrong {name}", "objects", lambda record: record["decision"].update({name: v.named_hash("other")}))
        member(f"a {name} that is none", "objects members", lambda record: record["decision"].update({name: "sha-256:x"}))
    path = f"objects/{w.sha(w.POLICIES).hex()}"
    case("outsider: other policies under the old name", "objects", FILES | {path: b"permit(principal, action, resource) when { true };"})

PARTS = (honest, outsider, flips, order, text_attacks, members, sequence, time, commitments, intents, objects)
