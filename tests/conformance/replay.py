"""Replays a file of captures, as a sequence: what one request makes, the next ones see, on every server."""

import json
import time

import captures
from compare import Difference, differences
from ids import Ids
from wire import Request, send

# The last argument of a batch → the state in which the stub leaves it, and the lines that it prints.
OUTCOMES = {"sleep": ("running", 31), "fail": ("dead", 2)}
OTHERWISE = ("success", 151)
SETTLE_SECONDS = 120


class Replay:
    """One file of captures; the facade and Livy are asked the same, one request after the other."""

    def __init__(self, name, livy, facade, report):
        self.exchanges, self.livy, self.facade, self.report = captures.read(name), livy, facade, report
        self.captured = Ids()
        self.ids = {livy: Ids(), facade: Ids()}
        # Ordinal → how its batch goes on, until it was seen there.
        self.expected = {}

    def run(self):
        for request, answer in self.exchanges:
            self.step(request, answer)
        return len(self.exchanges)

    def step(self, request, captured):
        self.settle(request)
        ordinal = len(self.captured.ordinals) if captured.status == 201 else None
        if ordinal is not None:
            self.captured.accepted(json.loads(captured.body)["id"], ordinal)
        live = self.ask(self.livy, request, ordinal)
        for sent in variants(request):
            name = str(sent) if sent is request else f"{sent} (amended)"
            ours = self.ask(self.facade, sent, ordinal)
            self.compare(name, captured, live, ours, first=ordinal == 0)
            if ours.status == 201 and ordinal is not None:
                break
        if ordinal is not None:
            last = ([""] + json.loads(request.body).get("args", []))[-1]
            self.expected[ordinal] = OUTCOMES.get(last, OTHERWISE)

    def ask(self, server, request, ordinal):
        """The answer of one server. What it accepts and Livy 0.9 refused is undone: the sequence has to go on alike."""
        ids = self.ids[server]
        target = ids.translated(request.target, self.captured, server.counts_alike)
        answer = send(server.port, request.with_target(target))
        if answer.status == 201:
            batch = json.loads(answer.body)["id"]
            if ordinal is not None:
                ids.accepted(batch, ordinal)
            else:
                ids.undone.add(batch)
                undo = Request("DELETE", f"/batches/{batch}", {"X-Requested-By": "conformance"})
                assert send(server.port, undo).status == 200, f"{undo} failed"
        return answer

    def compare(self, name, captured, live, ours, first):
        our_ids = self.ids[self.facade]
        for version, livy, ids in [("0.9", captured, self.captured), (self.livy.version, live, self.ids[self.livy])]:
            found = differences(name, version, livy, ids, ours, our_ids)
            if first and livy.status == ours.status == 201 and not our_ids.undone:
                found.append(Difference(name, version, "first id", str(ids.of(0)), str(our_ids.of(0))))
            self.report.add(found)

    def settle(self, request):
        """Waits until the batches are where the stub leaves them, before something is asked that shows it."""
        if request.method not in ("GET", "HEAD"):
            return
        for ordinal, (state, lines) in self.expected.items():
            for server in self.ids:
                self.wait(server, self.ids[server].of(ordinal), state, lines)
        self.expected.clear()

    def wait(self, server, batch, state, lines):
        deadline = time.monotonic() + SETTLE_SECONDS
        while batch is not None:
            now = send(server.port, Request("GET", f"/batches/{batch}/state"))
            log = send(server.port, Request("GET", f"/batches/{batch}/log?size=0"))
            if now.status == 404:
                return
            found = json.loads(now.body)["state"]
            if found == state and json.loads(log.body)["total"] >= lines:
                return
            if time.monotonic() > deadline:
                raise SystemExit(f"{server.name}: batch {batch} is {found}, not {state}, after {SETTLE_SECONDS} s")
            time.sleep(0.1)


def variants(request):
    """The request as it was captured, and then with conf keys that the facade takes."""
    yield request
    try:
        body = json.loads(request.body or "")
    except ValueError:
        return
    if request.method != "POST" or not isinstance(body, dict) or not str(body.get("file")).endswith(".jar"):
        return
    amended = request.body
    foreign = [key for key in body.get("conf") or {} if not key.startswith("spark.")]
    for key in foreign:
        amended = amended.replace(f'"{key}":', f'"spark.{key}":')
    if foreign:
        yield request.with_body(amended)
