"""The chart as a release packages it."""

import os
import re
import subprocess
import tarfile

import pytest
import yaml

from conftest import CHART, ROOT

DIGEST = "sha256:" + 64 * "a"


@pytest.fixture
def package(tmp_path):
    def package(**environment):
        folder = {"DIST": str(tmp_path), "REPOSITORY": "", "DIGEST": ""}
        done = subprocess.run(
            [ROOT / "deploy/release", "chart"], env=os.environ | folder | environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        (made,) = tmp_path.glob("*.tgz")
        return made

    return package


def images(helm, package):
    status, out, error = helm.run("template", "sparkbatch", str(package))
    assert status == 0, error
    deployments = [each for each in yaml.safe_load_all(out) if each and each["kind"] == "Deployment"]
    return {each["spec"]["template"]["spec"]["containers"][0]["image"] for each in deployments}


def test_a_released_chart_needs_no_values(helm, package):
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    assert images(helm, package(REPOSITORY="registry.example.com/Sparkbatch")) == {f"registry.example.com/sparkbatch:{version}"}
    assert images(helm, package(REPOSITORY="registry.example.com/a", DIGEST=DIGEST)) == {f"registry.example.com/a@{DIGEST}"}


def test_the_readme_of_a_released_chart_names_its_image(package):
    with tarfile.open(package(REPOSITORY="registry.example.com/a")) as archive:
        readme = archive.extractfile("sparkbatch/README.md").read().decode()
    assert re.search(r"^\| `image.repository` \| `\"registry.example.com/a\"` ", readme, re.MULTILINE)


def test_a_package_without_a_repository_is_the_chart_as_it_is(helm, package):
    status, _, error = helm.run("template", "sparkbatch", str(package()))
    assert status != 0 and "image.repository: name the operator's image" in error
