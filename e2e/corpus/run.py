"""Makes the corpus, or runs verify.py over it.

    python run.py make FOLDER     writes FOLDER/<number>/ledger and FOLDER/<number>/case.json for each case
    python run.py verify FOLDER   verifies every case in one process; one line of JSON for each
    python run.py authority FILE  compares the authorities of each line of FILE; prints the lines that it sees otherwise
"""

import base64
import json
import pathlib
import sys

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[2])]

import verify as v  # noqa: E402


def make(folder):
    import cases
    import certificates
    import custody
    import issuers
    import passkeys
    import sign_ins
    import standing
    import world

    for part in (*cases.PARTS, custody.attacks, passkeys.attacks, standing.attacks, sign_ins.attacks, issuers.attacks, certificates.attacks):
        part()
    for number, (about, found) in enumerate(cases.CASES):
        place = folder / f"{number:04}"
        world.write(place / "ledger", found)
        (place / "case.json").write_text(json.dumps(about))


def verify(folder):
    for place in sorted(folder.iterdir()):
        about = json.loads((place / "case.json").read_text())
        earlier = base64.b64decode(about["earlier"]) if "earlier" in about else None
        keys = {name: v.unb64u(key) for name, key in about.get("keys", {}).items()}
        pinned = v.pinned_keys(json.dumps(about["pinned"]).encode()) if "pinned" in about else None
        report, _ = v.verify(place / "ledger", about["vkey"], earlier, keys=keys, pinned=pinned)
        failures = [[one["name"], one["index"], one["detail"]] for one in report.failures]
        said = {"notes": report.notes, "roots": report.roots, "keys": report.value()["keys"]}
        print(json.dumps({"case": place.name, "failures": failures} | said))


def authority(vectors):
    for line in vectors.read_text().splitlines():
        case = json.loads(line)
        a, b, canonical, meet = (v.Authority(case[name]).grants for name in ("a", "b", "a_canonical", "meet"))
        said = {"a_within_b": v.covered(a, b), "b_within_a": v.covered(b, a)}
        said |= {"a_within_meet": v.covered(a, meet), "b_within_meet": v.covered(b, meet)}
        same = v.covered(a, canonical) and v.covered(canonical, a) and v.covered(meet, a) and v.covered(meet, b)
        if not same or any(case[name] != verdict for name, verdict in said.items()):
            print(json.dumps({"said": said, "same": same, "case": case}))


if __name__ == "__main__":
    {"make": make, "verify": verify, "authority": authority}[sys.argv[1]](pathlib.Path(sys.argv[2]))
