"""What a release says at its end: commands that work as they are pasted."""

import json
import subprocess

import pytest
import value_sets
import yaml
from notes import commands

PI = {"file": "/opt/spark/examples/src/main/python/pi.py"}

# Stands for kubectl and curl: keeps what it was called with, and says what `kubectl create token` would.
FAKE = """#!/usr/bin/env python3
import json, pathlib, sys
words = sys.argv[1:]
call = {"program": pathlib.Path(sys.argv[0]).name, "words": words, "input": sys.stdin.read() if "-" in words else None}
with open(pathlib.Path(sys.argv[0]).parent / "calls", "a") as calls:
    calls.write(json.dumps(call) + "\\n")
if "token" in words:
    print("the-token")
"""


@pytest.fixture
def pasted(helm, tmp_path):
    """What the notes' commands call in bash: of each its words, and what it is given to read."""

    def pasted(values, **more):
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        for program in ("kubectl", "curl"):
            (folder / program).write_text(FAKE)
            (folder / program).chmod(0o755)
        (folder / "calls").unlink(missing_ok=True)
        path = {"PATH": f"{folder}:/usr/bin:/bin"}
        text = commands(helm.notes(values, **more)) + "wait\n"
        checked = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
        assert checked.returncode == 0 and not checked.stderr, checked.stderr
        done = subprocess.run(["bash", "-u"], input=text, env=path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and not done.stderr, done.stderr
        return [json.loads(line) for line in (folder / "calls").read_text().splitlines()]

    return pasted


def of(calls, program, *words):
    (found,) = (call for call in calls if call["program"] == program and set(words) <= set(call["words"]))
    return found


@pytest.mark.parametrize("name", value_sets.ALL)
def test_the_commands_are_bash_and_their_manifest_is_one(pasted, name):
    batch = yaml.safe_load(of(pasted(value_sets.ALL[name]), "kubectl", "apply")["input"])
    assert (batch["kind"], batch["spec"]) == ("SparkBatch", PI)


def test_a_curl_waits_for_the_forwarded_port_and_brings_a_token(pasted):
    calls = pasted({})
    assert "service/sparkbatch" in of(calls, "kubectl", "port-forward", "8998:8998")["words"]
    curl = of(calls, "curl")["words"]
    assert "http://localhost:8998/namespaces/spark-jobs/batches" in curl
    assert "--retry-connrefused" in curl and curl[curl.index("--retry") + 1] == "10"
    assert "authorization: Bearer the-token" in curl and "--insecure" not in curl
    assert json.loads(curl[curl.index("-d") + 1]) == PI


def test_a_curl_to_https_says_why_it_is_insecure(helm, pasted):
    values = {"facade": {"tls": {"enabled": True, "secretName": "a"}, "service": {"port": 443}}}
    calls = pasted(values)
    of(calls, "kubectl", "port-forward", "8998:443")
    assert {"--insecure", "https://localhost:8998/namespaces/spark-jobs/batches"} <= set(of(calls, "curl")["words"])
    assert "not that of localhost" in helm.notes(values)


def test_a_curl_has_the_header_that_is_required(pasted):
    assert not any(word.startswith("x-requested-by") for word in of(pasted({}), "curl")["words"])
    assert "x-requested-by: curl" in of(pasted({"facade": {"requireRequestedBy": True}}), "curl")["words"]


def test_without_authentication_there_is_no_token_and_a_warning(helm, pasted):
    calls = pasted({"facade": {"auth": "none"}})
    assert not any("authorization" in word for word in of(calls, "curl")["words"])
    assert not any("token" in call["words"] for call in calls)
    assert "Whoever reaches the REST API" in helm.notes({"facade": {"auth": "none"}})


@pytest.mark.parametrize("mode", ["separate", "combined"])
def test_the_commands_name_the_release_and_its_namespaces(pasted, mode):
    values = {"mode": mode, "jobs": {"namespaces": [{"name": "team-a", "create": True}]}}
    calls = pasted(values, release="mine", namespace="platform")
    forward = of(calls, "kubectl", "port-forward")["words"]
    assert {"service/mine-sparkbatch", "platform"} <= set(forward)
    assert yaml.safe_load(of(calls, "kubectl", "apply")["input"])["metadata"] == {"name": "pi", "namespace": "team-a"}
    assert "http://localhost:8998/namespaces/team-a/batches" in of(calls, "curl")["words"]
    for made in ("serviceaccount", "role", "rolebinding", "token"):
        assert "team-a" in of(calls, "kubectl", "create", made)["words"]


def test_without_the_rest_api_there_is_no_curl(helm):
    assert "curl" not in helm.notes({"facade": {"enabled": False}})
