"""What of an answer is compared: without ids, dates and what differs from run to run of one and the same server."""

import json
import re

HEADERS = ["location", "allow", "content-type", "content-encoding", "www-authenticate"]
# Livy with a stub learns of no application.
APP_ID = re.compile(r"spark-[0-9a-f]{32}-\d+")
DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


class Text(str):
    """A body that is no JSON."""


def headers(answer, ids):
    """The headers that clients look at. Others come and go with the server's version."""
    values = {name: answer.headers.get(name) for name in HEADERS}
    if values["allow"]:
        # Its order says nothing.
        values["allow"] = ", ".join(sorted(re.split(r"\s*,\s*", values["allow"])))
    if values["location"]:
        batch = re.fullmatch(r"/batches/(\d+)", values["location"])
        host = re.sub(r"^http://[^/]+", "http://HOST", values["location"])
        values["location"] = f"/batches/<{ids.label(int(batch[1]))}>" if batch else host
    return values


def body(answer, ids, created):
    """The body. `created`: it answers a POST, so that state and log are those of the moment."""
    text = answer.body
    try:
        value = json.loads(text)
    except ValueError:
        return Text(text)
    return settled(value, ids, created)


def settled(value, ids, created, key=None):
    if isinstance(value, dict):
        return {key: settled(inner, ids, created, key) for key, inner in value.items()}
    if isinstance(value, list):
        entries = [settled(inner, ids, created) for inner in value]
        # Of how far spark-submit had come when the answer was written, only the last line does not depend on it.
        return entries[-1:] if created and key == "log" else entries
    if key == "id" and isinstance(value, int):
        return ids.label(value)
    if created and key == "state" and value in ("starting", "running", "success", "dead"):
        return "starting"
    if key == "appId" and value and APP_ID.fullmatch(value):
        return None
    if isinstance(value, str):
        return plain(value, ids)
    return value


def plain(text, ids):
    if text.startswith("ARGS: "):
        # A command line of spark-submit, and one of a driver.
        return "ARGS: …"
    text = re.sub(r"(?<=Session ')\d{1,7}(?=')", lambda match: str(ids.label(int(match[0]))), text)
    text = re.sub(r"(?<=for session )\d+", lambda match: str(ids.label(int(match[0]))), text)
    return DATE.sub("DATE", text)
