"""Files that are made from others are as they would be made now."""

import os
import pathlib
import shutil
import subprocess

import pytest

from conftest import CHART, ROOT


def made_into(folder, program, *arguments, **environment):
    done = subprocess.run(
        [ROOT / program, *arguments, folder], env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [file for file in pathlib.Path(folder).rglob("*") if file.is_file()]


def test_the_readmes_tables_are_those_of_the_values(tmp_path):
    for name in ("README.md", "values.yaml"):
        shutil.copy(CHART / name, tmp_path)
    made_into(tmp_path, "charts/document")
    assert (tmp_path / "README.md").read_text() == (CHART / "README.md").read_text(), "make generate"


def test_kustomize_is_as_the_chart_has_it(tmp_path, request):
    files = made_into(tmp_path, "deploy/kustomize/generate", HELM=request.config.getoption("--helm"))
    assert len(files) == 11
    for file in files:
        committed = ROOT / "deploy/kustomize" / file.relative_to(tmp_path)
        assert file.read_text() == committed.read_text(), f"{committed.relative_to(ROOT)}: make generate"


def test_the_charts_definition_is_the_programs():
    assert (CHART / "files/sparkbatches.yaml").read_text() == (ROOT / "crds/sparkbatches.yaml").read_text(), "make generate"


@pytest.mark.parametrize("program", ["charts/document", "deploy/kustomize/generate"])
def test_what_makes_files_is_a_program(program):
    assert os.access(ROOT / program, os.X_OK)
