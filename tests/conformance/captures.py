"""The captures: what was sent to a running Livy 0.9, as curl's arguments, and what it answered."""

import json
import re
from pathlib import Path

from wire import Answer, Request

FOLDER = Path(__file__).parent / "captures"
HOST = "http://livy:8998"


def read(name):
    """The exchanges of one file, in order: pairs of a request and Livy's answer."""
    text = (FOLDER / f"{name}.txt").read_text()
    blocks = re.split(r"^### ", text, flags=re.MULTILINE)[1:]
    return [exchange(block) for block in blocks]


def exchange(block):
    command, _, rest = block.partition("\n")
    head, _, body = rest.partition("\n\n")
    status, *lines = head.splitlines()
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    answer = Answer(int(status.split()[1]), headers, body.strip("\n"))
    if "-o /dev/null" in command:
        answer.body = None
    elif is_cut(answer):
        answer.body, answer.cut = completed(answer.body), True
    return request(command), answer


def request(command):
    """The request that curl makes of these arguments, which are not quoted: each ends where the next begins."""
    arguments, _, url = f" {command}".rpartition(" ")
    method = re.search(r" -X (\w+)", arguments)
    _, has_body, body = arguments.partition(" -d ")
    headers = dict(header(text) for text in re.findall(r" -H (.*?)(?= -[HdoX] | http|$)", arguments.split(" -d ")[0]))
    if has_body:
        headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
    default = "HEAD" if " -I" in arguments else "POST" if has_body else "GET"
    headers = {name: value for name, value in headers.items() if value is not None}
    target = url.removeprefix(HOST)
    return Request(method[1] if method else default, target, headers, body if has_body else None)


def header(text):
    """curl: "name: value" sends the header, "name;" sends it empty, and "name:" does not send it."""
    if text.endswith(";"):
        return text[:-1], ""
    name, _, value = text.partition(":")
    return name, value.strip() or None


def is_cut(answer):
    if not answer.body or "json" not in answer.headers.get("content-type", ""):
        return False
    try:
        json.loads(answer.body)
        return False
    except ValueError:
        return True


def completed(text):
    """A list, or a log, of which only the beginning is known, closed after the last entry that is whole."""
    while "," in text:
        text = text[: text.rindex(",")]
        whole = text + "]}"
        try:
            json.loads(whole)
            return whole
        except ValueError:
            continue
    raise ValueError("nothing of the answer is whole")
