"""Makes the corpus, or runs verify.py over it.

    python run.py make FOLDER     writes FOLDER/<number>/ledger and FOLDER/<number>/case.json for each case
    python run.py verify FOLDER   verifies every case in one process; one line of JSON for each
"""

import base64
import json
import pathlib
import sys

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[2])]

import verify as v  # noqa: E402


def make(folder):
    import cases
    import custody
    import world

    for part in (*cases.PARTS, custody.attacks):
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
        report, _ = v.verify(place / "ledger", about["vkey"], earlier, keys=keys)
        failures = [[one["name"], one["index"], one["detail"]] for one in report.failures]
        print(json.dumps({"case": place.name, "failures": failures}))


if __name__ == "__main__":
    {"make": make, "verify": verify}[sys.argv[1]](pathlib.Path(sys.argv[2]))
