"""What the cluster holds already: refused before anything is installed, or left alone."""

import pytest
import yaml
from fake_cluster import Cluster, definition, namespace, owned_by

MINE = owned_by("sparkbatch", "sparkbatch-system")


@pytest.fixture
def render(helm, tmp_path):
    """Renders for a cluster that holds these objects: status, objects, and what was said."""
    clusters = []

    def render(values, *objects):
        there = namespace("kube-system")
        for each in objects:
            there |= each
        clusters.append(Cluster(there))
        kubeconfig = clusters[-1].kubeconfig(tmp_path)
        arguments = ["--dry-run=server", "--disable-openapi-validation", "--kubeconfig", kubeconfig]
        status, out, error = helm.with_values(["template", "sparkbatch"], values, *arguments)
        return status, [each for each in yaml.safe_load_all(out) if each] if status == 0 else [], error

    yield render
    for cluster in clusters:
        cluster.close()


def refused(answer):
    status, _, error = answer
    assert status != 0
    return error


def installed(answer):
    status, objects, error = answer
    assert status == 0, error
    return {(each["kind"], each["metadata"]["name"]) for each in objects}


def test_an_empty_cluster_gets_all(render):
    made = installed(render({}))
    assert ("Namespace", "spark-jobs") in made
    assert ("CustomResourceDefinition", "sparkbatches.sparkbatch.dev") in made


def test_what_the_release_made_before_is_made_again(render):
    made = installed(render({}, definition(**MINE), namespace("spark-jobs", **MINE)))
    assert ("Namespace", "spark-jobs") in made
    assert ("CustomResourceDefinition", "sparkbatches.sparkbatch.dev") in made


def test_a_namespace_that_somebody_else_made_is_theirs(render):
    made = installed(render({}, namespace("spark-jobs")))
    assert ("Namespace", "spark-jobs") not in made
    assert ("ServiceAccount", "spark") in made
    made = installed(render({}, namespace("spark-jobs", **owned_by("sparkbatch", "elsewhere"))))
    assert ("Namespace", "spark-jobs") not in made


def test_a_definition_of_a_version_that_is_not_known_is_refused(render):
    error = refused(render({}, definition(["v1alpha1", "v2"], **MINE)))
    assert "stores batches as v2, which this chart does not know" in error
    # Whoever says that it is theirs to keep right is believed.
    installed(render({"crds": {"enabled": False}}, definition(["v2"])))


def test_a_definition_of_another_release_is_refused_with_what_to_set(render):
    error = refused(render({}, definition(**owned_by("other", "elsewhere"))))
    assert "belongs to the release other in elsewhere: set crds.enabled to false" in error


def test_a_definition_of_nobodys_release_is_refused_with_how_to_take_it_over(render):
    error = refused(render({}, definition()))
    assert "set crds.enabled to false to leave it as it is" in error
    assert "meta.helm.sh/release-name=sparkbatch meta.helm.sh/release-namespace=sparkbatch-system" in error


def test_a_namespace_of_jobs_that_is_not_there_is_refused(render):
    error = refused(render({"jobs": {"namespaces": [{"name": "team-a"}, {"name": "team-b"}]}}, namespace("team-a")))
    assert "there is no namespace team-b; make it, or set create" in error
    assert "team-a;" not in error
