"""HTTP, byte for byte: what is sent is what curl sent, and an answer is kept as it came."""

import gzip
import http.client
from dataclasses import dataclass, field, replace


@dataclass
class Request:
    method: str
    target: str
    headers: dict = field(default_factory=dict)
    body: str | None = None

    def __str__(self):
        # Of the headers, those that matter: not the content type that nearly every POST has.
        headers = [f"{name}: {value}" for name, value in self.headers.items() if value != "application/json"]
        return " ".join(filter(None, [self.method, self.target, self.body, *(f"[{header}]" for header in headers)]))

    def with_target(self, target):
        return replace(self, target=target)

    def with_body(self, body):
        return replace(self, body=body)


@dataclass
class Answer:
    status: int
    headers: dict
    # None: not looked at when it was captured.
    body: str | None
    # Only the beginning of the body is known.
    cut: bool = False


def send(port, request, timeout=30):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.putrequest(request.method, request.target, skip_accept_encoding=True)
        headers = {"Accept": "*/*"} | request.headers
        body = None if request.body is None else request.body.encode()
        if body is not None:
            headers["Content-Length"] = str(len(body))
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        response = connection.getresponse()
        raw = response.read()
    finally:
        connection.close()
    headers = {name.lower(): value for name, value in response.getheaders()}
    if headers.get("content-encoding") == "gzip":
        raw = gzip.decompress(raw)
    return Answer(response.status, headers, raw.decode(errors="replace").strip("\n"))
