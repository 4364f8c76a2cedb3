"""Requests over kept connections, and how long they take. Who is compared is asked in turns within one run, as the
machine is not the same a minute later."""

import http.client
import json
import ssl
import statistics
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

REPORT = Path(__file__).parent / "report.lua"


@dataclass
class Server:
    url: str
    # That every request carries.
    token: str = ""
    # PEM.
    authority: str = ""

    def connect(self):
        at = urlsplit(self.url)
        if at.scheme == "http":
            return http.client.HTTPConnection(at.hostname, at.port, timeout=60)
        context = ssl.create_default_context(cadata=self.authority)
        return http.client.HTTPSConnection(at.hostname, at.port, timeout=60, context=context)

    def headers(self):
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}


@dataclass
class Write:
    """A call that changes something; $n in its path and body is a number of its own each time."""

    method: str
    path: str
    body: dict
    status: int

    def send(self, connection, headers, n):
        body = json.dumps(self.body).replace("$n", str(n))
        headers = headers | {"Content-Type": "application/json"}
        connection.request(self.method, self.path.replace("$n", str(n)), body, headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != self.status:
            raise SystemExit(f"{self.method} {self.path}: {answer.status} {text.decode(errors='replace')}")


@dataclass
class Measured:
    """Medians of several rounds. Times in milliseconds, rates in requests per second."""

    p50s: list = field(default_factory=list)
    p99s: list = field(default_factory=list)
    rates: list = field(default_factory=list)
    requests: int = 0

    def add(self, p50, p99, rate, requests):
        self.p50s.append(p50)
        self.p99s.append(p99)
        self.rates.append(rate)
        self.requests += requests

    @property
    def p50(self):
        return statistics.median(self.p50s)

    @property
    def p99(self):
        return statistics.median(self.p99s)

    @property
    def rate(self):
        return statistics.median(self.rates)


class Writer:
    """Someone who sends the same calls again and again: one sample is all of them, one after the other."""

    def __init__(self, server, calls, first=1):
        self.server, self.calls, self.numbers = server, calls, count(first)

    def round(self, samples, connections):
        shares = [samples // connections + (n < samples % connections) for n in range(connections)]
        began = time.perf_counter()
        with ThreadPoolExecutor(connections) as pool:
            times = sorted(sum(pool.map(self.share, shares), []))
        rate = len(times) / (time.perf_counter() - began)
        return statistics.median(times), times[int(len(times) * 0.99)], rate, len(times)

    def share(self, samples):
        connection, headers, times = self.server.connect(), self.server.headers(), []
        connection.connect()
        for _ in range(samples):
            n, began = next(self.numbers), time.perf_counter()
            for call in self.calls:
                call.send(connection, headers, n)
            times.append((time.perf_counter() - began) * 1e3)
        connection.close()
        return times


class Reader:
    """Someone who asks for the same thing again and again, by wrk."""

    def __init__(self, server, path):
        self.server, self.path = server, path

    def round(self, seconds, connections):
        headers = [part for item in self.server.headers().items() for part in ("-H", ": ".join(item))]
        url = self.server.url + self.path
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", REPORT, *headers, url]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        seen = json.loads(output.strip().splitlines()[-1])
        if seen["errors"] or not seen["requests"]:
            raise SystemExit(f"{url} did not answer as it should: {output}")
        return seen["p50"], seen["p99"], seen["requests"] / seen["seconds"], seen["requests"]


def compare(who, rounds, amount, connections=1, tidy=None):
    """Lets each have its turn in each round: as many samples of a writer, or as many seconds of a reader. `tidy` is
    called after each round."""
    measured = [Measured() for _ in who]
    for _ in range(rounds):
        for each, its in zip(who, measured):
            its.add(*each.round(amount, connections))
        if tidy:
            tidy()
    return measured
