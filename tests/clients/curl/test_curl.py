"""The commands of commands.sh by curl itself, with the sample payload that names a job in the image."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SAMPLES = HERE.parents[1] / "golden" / "seed"


@pytest.fixture
def curl(facade, folder):
    """Runs a command of commands.sh: status (None where the command shows none), headers, body."""
    shutil.copy(SAMPLES / "create-local.json", folder / "livypayload.json")

    def curl(command, batch=""):
        told = {"API": facade.url, "INSTANCE": facade.instance, "TOKEN": facade.token, "BATCH": str(batch)}
        script = f". {HERE}/commands.sh; {command}"
        output = subprocess.run(
            ["bash", "-euc", script],
            check=True, capture_output=True, text=True, timeout=60, cwd=folder, env={**os.environ, **told},
        ).stdout
        if not output.startswith("HTTP/"):
            return None, {}, json.loads(output)
        head, body = output.replace("\r\n", "\n").split("\n\n", 1)
        first, *lines = head.splitlines()
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        return int(first.split()[1]), headers, json.loads(body)

    return curl


def test_the_page_is_served_from_submit_to_delete(facade, curl, request):
    status, headers, created = curl("submit")
    assert status == 201
    batch = created["id"]
    request.addfinalizer(lambda: facade.forget(batch))
    assert headers["content-type"].startswith("application/json")
    assert headers["location"].endswith(f"/{batch}")
    assert (created["app_info"], created["state"]) == ({}, "not_started")

    facade.ends(batch, "success")
    status, headers, shown = curl("read_batch_with_headers", batch)
    assert (status, headers["content-type"]) == (200, "application/json;charset=utf-8")
    assert shown == {"id": batch, "appId": shown["appId"], "appInfo": {"sparkUiUrl": None}, "state": "success"}
    assert shown["appId"].startswith("spark-")
    assert curl("read_batch", batch)[2] == shown

    status, _, state = curl("read_state_with_headers", batch)
    assert (status, state) == (200, {"id": batch, "state": "success"})
    assert curl("read_state", batch)[2] == state

    for command, expected in [("list_with_headers", 200), ("list", None)]:
        status, _, listed = curl(command)
        assert status == expected
        assert (set(listed), listed["from"]) == ({"from", "sessions", "total"}, 0)
        assert listed["total"] == len(listed["sessions"])
        assert shown in listed["sessions"]

    status, _, deleted = curl("delete_with_headers", batch)
    assert (status, deleted) == (200, {"msg": "deleted"})
    status, _, gone = curl("read_batch_with_headers", batch)
    assert (status, gone) == (404, {"msg": f"Session '{batch}' not found."})


def test_the_other_delete_of_the_page_ends_a_batch_that_starts(facade, curl, request):
    batch = curl("submit")[2]["id"]
    request.addfinalizer(lambda: facade.forget(batch))
    assert curl("delete", batch)[2] == {"msg": "deleted"}
    assert set(curl("delete", batch)[2]) == {"msg"}
    facade.until_pods_are_gone(batch)


def test_the_first_command_of_the_page_holds_no_json_and_is_told_so(curl):
    _, _, refused = curl("submit_inline")
    assert set(refused) == {"msg"}
    assert "JSON" in refused["msg"]
