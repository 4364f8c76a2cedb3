"""The differences between two answers to one request."""

import json
from dataclasses import dataclass

import normalise


@dataclass(frozen=True)
class Difference:
    request: str
    # "0.9" or "0.7.1"
    version: str
    # "answer" if the status differs, else a header, or a place in the body such as "body.sessions[0].log".
    field: str
    livy: str
    ours: str


def differences(request, version, livy, livy_ids, ours, our_ids):
    created = request.startswith("POST") and livy.status == 201
    return [Difference(request, version, *each) for each in fields(livy, livy_ids, ours, our_ids, created)]


def fields(livy, livy_ids, ours, our_ids, created):
    if livy.status != ours.status:
        yield "answer", whole(livy, livy_ids), whole(ours, our_ids)
        return
    theirs, mine = normalise.headers(livy, livy_ids), normalise.headers(ours, our_ids)
    for name in normalise.HEADERS:
        if theirs[name] != mine[name]:
            yield name, shown(theirs[name]), shown(mine[name])
    if livy.body is None:
        return
    yield from values(
        "body", normalise.body(livy, livy_ids, created), normalise.body(ours, our_ids, created), livy.cut
    )


def values(path, livy, ours, cut):
    if isinstance(livy, dict) and isinstance(ours, dict):
        if list(livy) != list(ours):
            yield f"{path} (keys)", ", ".join(livy), ", ".join(ours)
        for key in livy:
            if key in ours:
                yield from values(f"{path}.{key}", livy[key], ours[key], cut)
    elif isinstance(livy, list) and isinstance(ours, list) and path.endswith(".sessions"):
        known = ours[: len(livy)] if cut else ours
        if len(livy) != len(known) or [batch.get("id") for batch in livy] != [batch.get("id") for batch in known]:
            yield path, batches(livy), batches(known)
            return
        for index, (theirs, mine) in enumerate(zip(livy, known)):
            yield from values(f"{path}[{index}]", theirs, mine, False)
    elif isinstance(livy, list) and isinstance(ours, list) and cut:
        yield from values(path, livy, ours[: len(livy)], False)
    elif type(livy) is not type(ours) or livy != ours:
        yield path, shown(livy), shown(ours)


def batches(sessions):
    """Lists of other batches differ as a whole; which ones they are says it."""
    return ", ".join(f"{batch['id']}: {batch.get('state')}" for batch in sessions) or "no batch"


def whole(answer, ids):
    return f"{answer.status} {shown(normalise.body(answer, ids, False))}" if answer.body else str(answer.status)


def shown(value):
    if isinstance(value, normalise.Text):
        return str(value)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
