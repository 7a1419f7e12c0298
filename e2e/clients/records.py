"""Every entry of a ledger folder against the published JSON Schema, by a third party's validator.

usage: records.py LEDGER SCHEMA. Prints what was seen as one line of JSON; the first entry that does not fit, or broken
sample that does, ends it with status 1.
"""

import copy
import json
import pathlib
import sys

from jsonschema import Draft202012Validator


def entries(ledger):
    size = int((ledger / "checkpoint").read_text().split("\n")[1])
    for number in range((size + 255) // 256):
        groups = f"{number:03d}" if number < 1000 else "x%03d/%03d" % divmod(number, 1000)
        path = ledger / "tile" / "entries" / groups
        width = min(256, size - 256 * number)
        data = (path if path.exists() else path.parent / f"{path.name}.p" / str(width)).read_bytes()
        at = 0
        for _ in range(width):
            length = int.from_bytes(data[at : at + 2], "big")
            yield json.loads(data[at + 2 : at + 2 + length])
            at += 2 + length


def place(record, path):
    for step in path[:-1]:
        record = record[step]
    return record, path[-1]


def broken(record):
    """Samples that are wrong in one place each."""
    wrong = [
        (("schema",), "agent.audit.v2"),
        (("record_type",), "guess"),
        (("record_id",), record["record_id"].upper() + "0"),
        (("env",), "production"),
        (("producer", "kind"), "proxy"),
        (("producer", "epoch"), 1),
        (("seq",), "01"),
        (("seq",), "18446744073709551616"),
        (("prev_hash",), "sha-256:00"),
        (("time", "wall"), record["time"]["wall"].replace("Z", "+00:00")),
        (("time", "clock_status"), "fine"),
        (("time", "error_bound_ns"), "unknown"),
        (("chain",), []),
        (("chain",), [record["chain"][0]] * 17),
        (("chain", 0, "kind"), "robot"),
        (("chain", 0, "auth", "method"), "trust"),
        (("chain", 0, "grant", "type"), "gift"),
        (("chain_depth",), 0),
        (("action", "class"), "look"),
        (("request", "hash"), None),
        (("outcome", "status"), "ok"),
        (("outcome", "effect_confirmed"), True),
        (("human_in_loop",), "maybe"),
        (("commit", "count_padded"), 3),
        (("retention", "legal_hold"), "no"),
        (("sigs",), []),
        (("sigs", 0, "alg"), "none"),
    ]
    for path, value in wrong:
        sample = copy.deepcopy(record)
        holder, name = place(sample, path)
        holder[name] = value
        yield "/".join(map(str, path)), sample
    for name in sorted(set(record) - {"session", "session_seq", "ext", "tool", "mcp", "http", "net", "decision", "txn", "caused_by", "intent_id", "purpose", "trace"}):
        sample = copy.deepcopy(record)
        del sample[name]
        yield f"no {name}", sample
    if "session" in record:
        sample = copy.deepcopy(record)
        del sample["session_seq"]
        yield "no session_seq", sample


def main():
    ledger, schema = pathlib.Path(sys.argv[1]), json.loads(pathlib.Path(sys.argv[2]).read_text())
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    seen, rejected = {}, 0
    for index, record in enumerate(entries(ledger)):
        error = next(validator.iter_errors(record), None)
        if error:
            sys.exit(f"entry {index} ({record['record_type']}): {error.json_path}: {error.message[:300]}")
        kind = record["record_type"]
        if kind not in seen:
            for what, sample in broken(record):
                if validator.is_valid(sample):
                    sys.exit(f"entry {index} ({kind}) is accepted although broken: {what}")
                rejected += 1
        seen[kind] = seen.get(kind, 0) + 1
    print(json.dumps({"seen": seen, "rejected": rejected}))


main()
