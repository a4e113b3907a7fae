"""Fields of a release to come, grafted onto every document of a store before an act, and looked for after it.

Run as `python -m tests.upgrade.graft` it reads cases from standard input, one JSON document a line, and answers each with
what was lost. With another release on PYTHONPATH it is that release which acts, while the judge stays the same.

What is made anew (a ticket, a request, the registry, an entry of the ring) is not rewritten: it says nothing of what stood
there. A part that is made anew, as a pause by the next pause, is told by its `since`.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import locksmith
from locksmith.stores import Put
from tests.upgrade.acts import ACTS, Scene

MARK = "later_"
"""How the names of the grafted fields begin."""
ANEW = ("q/", "req/", "node/", "ev/lim/")
BEYOND = 1_000_000
"""A `min_claim` that no release has reached."""


def lost(act: str, fields: Mapping[str, Any]) -> list[str]:
    """Do the act on documents with these fields in each object; say where some of them are missing then."""
    scene, chosen = Scene(), ACTS[act]
    chosen.before(scene)
    before = {key: json.loads(value) for key, value in scene.world.rows().items() if not key.startswith(ANEW)}
    for key, document in before.items():
        _graft(document, {f"{MARK}{name}": value for name, value in fields.items()})
        if chosen.free:
            document["min_claim"] = BEYOND
        scene.world.memory.commit((), [Put(key, json.dumps(document).encode())])
    revision = {key: scene.world.memory.read([key])[key].mod for key in before}
    chosen.do(scene)
    after = {key: json.loads(value) for key, value in scene.world.rows().items()}
    written = [key for key in before if key in after and scene.world.memory.read([key])[key].mod != revision[key]]
    if not written and before.keys() <= after.keys():
        return [f"{act}: nothing was written"]
    missing = [place for key in written for place in _missing(before[key], after[key], key)]
    return missing + [f"{key}.min_claim" for key in written if after[key]["min_claim"] != before[key]["min_claim"]]


def _graft(value: Any, fields: Mapping[str, Any]) -> None:
    """Into each object of a document, but not into a map of names."""
    match value:
        case dict():
            for each in value.values():
                _graft(each, fields)
            if not _is_map(value):
                value.update(fields)
        case list():
            for each in value:
                _graft(each, fields)


def _is_map(value: Mapping[str, Any]) -> bool:
    """Keyed by node ids, or somebody's own words: not an object with fields of its own."""
    return not {"v", "since", "at"} & value.keys()


def _missing(before: Any, after: Any, place: str) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        for name, value in before.items():
            if name.startswith(MARK):
                if name not in after or after[name] != value:
                    yield f"{place}.{name}"
            elif name in after and not _anew(value, after[name]):
                yield from _missing(value, after[name], f"{place}.{name}")
    elif isinstance(before, list) and isinstance(after, list):
        known = [_bare(each) for each in after]
        for number, value in enumerate(before):
            if _bare(value) in known and value not in after:
                yield f"{place}[{number}]"


def _anew(before: Any, after: Any) -> bool:
    both = isinstance(before, dict) and isinstance(after, dict)
    return both and before.get("since") != after.get("since")


def _bare(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: each for name, each in value.items() if not name.startswith(MARK)}


def main() -> None:
    """Answer until the input ends."""
    print(json.dumps({"release": locksmith.__version__}), flush=True)
    for line in sys.stdin:
        case = json.loads(line)
        print(json.dumps(lost(case["act"], case["fields"])), flush=True)


if __name__ == "__main__":
    main()
