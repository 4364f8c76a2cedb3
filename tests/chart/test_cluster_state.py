"""What the cluster holds already: refused before anything is installed, or left alone."""

import pytest
import value_sets
import yaml
from fake_cluster import Cluster, definition, namespace, owned_by, secret, served

MINE = owned_by("sparkbatch", "sparkbatch-system")


@pytest.fixture
def render(helm, tmp_path):
    """Renders for a cluster that holds these objects: status, objects, and what was said."""
    clusters = []

    def render(values, *objects, command="template", **more):
        there = namespace("kube-system")
        for each in objects:
            there |= each
        clusters.append(Cluster(there, **more))
        kubeconfig = clusters[-1].kubeconfig(tmp_path)
        arguments = ["--dry-run=server", "--disable-openapi-validation", "--kubeconfig", kubeconfig]
        status, out, error = helm.with_values([command, "sparkbatch"], values, *arguments)
        if command == "install":
            out = out.partition("MANIFEST:\n")[2].partition("NOTES:\n")[0]
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
    # Whoever says that it is theirs to keep right is believed, if it serves what this chart knows.
    installed(render({"crds": {"enabled": False}}, definition(["v1alpha1", "v2"])))


def test_a_definition_that_somebody_else_should_have_installed_and_has_not_is_refused(render):
    for there in ({}, definition(["v2"])):
        # Helm 3 asks for kinds where it installs alone.
        error = refused(render({"crds": {"enabled": False}}, there, command="install"))
        assert "the cluster does not serve sparkbatch.dev/v1alpha1: have its administrator run kubectl apply" in error


def test_who_may_see_nothing_of_the_whole_cluster_installs_into_named_namespaces(render):
    values = value_sets.of_readme()["No ClusterRole at all"]
    of_the_cluster = "/api/v1/namespaces/[^/]+|/apis/apiextensions.k8s.io/v1/.+"
    made = installed(render(values, served("v1alpha1"), forbidden=of_the_cluster, command="install"))
    assert ("ServiceAccount", "spark") in made
    assert "does not serve" in refused(render(values, forbidden=of_the_cluster, command="install"))


def test_a_certificate_that_is_not_there_is_refused_with_how_to_make_it(render):
    values = {"facade": {"tls": {"enabled": True, "secretName": "web"}}}
    error = refused(render(values))
    assert "no Secret web in sparkbatch-system: kubectl create secret tls web --namespace sparkbatch-system --cert" in error
    installed(render(values, secret("web", "sparkbatch-system")))
    assert "no Secret web" in refused(render(values, secret("web", "elsewhere")))


def test_a_certificate_that_is_made_with_the_release_need_not_be_there(render):
    tls = {"enabled": True, "secretName": "web"}
    issuer = {"certManager": {"enabled": True, "issuerRef": {"name": "internal"}}}
    certificate = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "web"}, "type": "kubernetes.io/tls"}
    for values in ({"facade": {"tls": tls | issuer}}, {"facade": {"tls": tls}, "extraObjects": [certificate]}):
        assert ("Deployment", "sparkbatch-facade") in installed(render(values))


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
