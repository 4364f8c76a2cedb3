"""The chart, rendered without a cluster."""

import contextlib
import json
import pathlib
import shlex
import subprocess

import pytest
import yaml
from fake_cluster import Cluster, served
from fake_cluster import namespace as of_name

ROOT = pathlib.Path(__file__).parent.parent.parent
CHART = ROOT / "charts/sparkbatch"
GOLDENS = pathlib.Path(__file__).parent / "goldens"
IMAGE = {"image": {"repository": "registry.example.com/sparkbatch"}}


def pytest_addoption(parser):
    parser.addoption("--helm", default="deploy/local/cluster helm", help="how to run Helm")
    parser.addoption("--kustomize", default="deploy/local/cluster kustomize", help="how to run kustomize")
    parser.addoption("--write", action="store_true", help="write the goldens anew")


class Helm:
    rendered = {}

    def __init__(self, command, folder):
        self.command, self.folder = shlex.split(command), folder

    def run(self, *arguments):
        done = subprocess.run([*self.command, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=600)
        return done.returncode, done.stdout, done.stderr

    def with_values(self, command, values, *arguments, image=True):
        """Runs a command of Helm with these values on top of an image, which is needed always."""
        file = self.folder / "values.json"
        file.write_text(json.dumps(merged(IMAGE, values) if image else values))
        there = ["--values", str(file), "--namespace", "sparkbatch-system"]
        return self.run(*command, str(CHART), *there, *arguments)

    def text(self, values):
        """What these values become, once for all tests."""
        key = json.dumps(values)
        if key not in self.rendered:
            status, out, error = self.with_values(["template", "sparkbatch"], values)
            assert status == 0, error
            self.rendered[key] = out
        return self.rendered[key]

    def objects(self, values):
        return [each for each in yaml.safe_load_all(self.text(values)) if each]

    def refusal(self, values, **more):
        status, out, error = self.with_values(["template", "sparkbatch"], values, **more)
        assert status != 0, f"was not refused: {out[:500]}"
        return error

    def notes(self, values, release="sparkbatch", namespace="sparkbatch-system"):
        """What the release says at its end."""
        # Helm 3 asks whether there is a cluster even so.
        with contextlib.closing(Cluster(of_name("kube-system") | served("v1alpha1"))) as cluster:
            arguments = ["--dry-run=client", "--disable-openapi-validation", "--kubeconfig", cluster.kubeconfig(self.folder)]
            status, out, error = self.with_values(["install", release], values, *arguments, "--namespace", namespace)
        assert status == 0, error
        return out.partition("NOTES:\n")[2]


def merged(one, other):
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return other
    both = one.keys() | other.keys()
    return {key: merged(one.get(key, {}), other[key]) if key in other else one[key] for key in both}


@pytest.fixture
def helm(request, tmp_path):
    return Helm(request.config.getoption("--helm"), tmp_path)


@pytest.fixture
def golden(request):
    """Compares a text with the file of that name, or writes it."""

    def compare(name, text):
        file = GOLDENS / name
        if request.config.getoption("--write"):
            GOLDENS.mkdir(exist_ok=True)
            file.write_text(text)
        assert text == file.read_text(), f"differs from {file.name}; tests/run chart --write accepts it"

    return compare
