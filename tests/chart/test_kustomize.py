"""What kustomize makes of deploy/kustomize, without a cluster."""

import re
import shlex
import shutil
import subprocess

import pytest
import yaml

from conftest import ROOT

FOLDERS = sorted(
    file.parent.relative_to(ROOT)
    for folder in ("crds", "deploy/kustomize")
    for file in (ROOT / folder).rglob("kustomization.yaml")
)


def is_component(folder):
    return yaml.safe_load((ROOT / folder / "kustomization.yaml").read_text())["kind"] == "Component"


def named(objects, kind, name):
    (found,) = (each for each in objects if each["kind"] == kind and each["metadata"]["name"] == name)
    return found


def env(objects, deployment="sparkbatch"):
    """The variables of a Deployment's container. One that is there twice is refused by server-side apply."""
    (container,) = named(objects, "Deployment", deployment)["spec"]["template"]["spec"]["containers"]
    names = [each["name"] for each in container["env"]]
    assert len(names) == len(set(names)), names
    return {each["name"]: each.get("value") for each in container["env"]}


@pytest.fixture
def build(request):
    """The objects that kustomize makes of a folder."""
    command = shlex.split(request.config.getoption("--kustomize"))

    def build(folder):
        done = subprocess.run([*command, folder], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        assert "Warning" not in done.stderr, done.stderr
        objects = [each for each in yaml.safe_load_all(done.stdout) if each]
        names = [(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in objects]
        assert names and len(names) == len(set(names)), names
        for deployment in (each for each in objects if each["kind"] == "Deployment"):
            env(objects, deployment["metadata"]["name"])
        return objects

    return build


@pytest.fixture
def copy(tmp_path):
    """This checkout as somebody has it who changes it."""
    copy = tmp_path / "sparkbatch"
    for folder in ("crds", "deploy/kustomize"):
        shutil.copytree(ROOT / folder, copy / folder)
    return copy


def bound(objects):
    """Of each account: the kinds of the roles that it is given. Each role and each account is among the objects."""
    there = {(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in objects}
    found = {}
    for binding in (each for each in objects if each["kind"] in ("RoleBinding", "ClusterRoleBinding")):
        role = binding["roleRef"]
        namespace = binding["metadata"].get("namespace") if role["kind"] == "Role" else None
        assert (role["kind"], namespace, role["name"]) in there, binding
        for subject in binding["subjects"]:
            assert (subject["kind"], subject["namespace"], subject["name"]) in there, binding
            found.setdefault((subject["namespace"], subject["name"]), set()).add(role["name"])
    return found


@pytest.mark.parametrize("folder", [each for each in FOLDERS if not is_component(each)], ids=str)
def test_each_folder_can_be_built(build, folder):
    build(ROOT / folder)


def test_the_two_parts_of_separate_share_no_account_and_what_callers_reach_reads_no_secret(build):
    objects = build(ROOT / "deploy/kustomize/separate")
    accounts = {
        each["metadata"]["name"]: each["spec"]["template"]["spec"]["serviceAccountName"]
        for each in objects
        if each["kind"] == "Deployment"
    }
    assert accounts == {"sparkbatch-controller": "sparkbatch-controller", "sparkbatch-facade": "sparkbatch-facade"}
    assert bound(objects) == {
        ("sparkbatch-system", "sparkbatch-controller"): {"sparkbatch-controller", "sparkbatch-leases"},
        ("sparkbatch-system", "sparkbatch-facade"): {"sparkbatch-facade", "sparkbatch-facade-cluster"},
    }
    for role in ("sparkbatch-facade", "sparkbatch-facade-cluster"):
        for rule in named(objects, "ClusterRole", role)["rules"]:
            assert "pods" not in rule["resources"]
            assert "secrets" not in rule["resources"] or rule["verbs"] == ["create"]


@pytest.mark.parametrize("folder", [each for each in FOLDERS if is_component(each)], ids=str)
def test_each_component_can_be_built_in_its_overlay(build, copy, folder):
    overlay = copy / folder.parent
    file = overlay / "kustomization.yaml"
    whole = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump(whole | {"components": [folder.name]}))
    objects = build(overlay)
    served = env(objects)["SPARKBATCH_NAMESPACES"]
    assert bound(objects) and served
    (account,) = {each for each in bound(objects) if each[0] == "sparkbatch-system"}
    roles = {"sparkbatch-leases", "sparkbatch-controller"}
    if folder.name == "rest":
        assert bound(objects)[account] == roles | {"sparkbatch-facade", "sparkbatch-facade-cluster"}
        assert env(objects)["SPARKBATCH_DEFAULT_NAMESPACE"] == served
        rules = named(objects, "ClusterRole", "sparkbatch-facade-cluster")["rules"]
        (rule,) = (each for each in rules if "namespaces" in each["resources"])
        assert rule["resourceNames"] == [served]
    else:
        assert bound(objects)[account] == roles


def test_what_the_quickstart_shows_can_be_built(build, copy):
    text = (ROOT / "docs/quickstart.md").read_text()
    block = re.search(r"^```yaml\n# kustomization\.yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[1]
    own = copy.parent / "my-sparkbatch"
    own.mkdir()
    (own / "kustomization.yaml").write_text(block)
    objects = build(own)
    assert env(objects)["SPARKBATCH_DEFAULT_NAMESPACE"] == "spark-jobs"
    (container,) = named(objects, "Deployment", "sparkbatch")["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.example.com/sparkbatch:0.1.0"
