"""Values that are refused, and what is said."""

import json

import pytest
import yaml

from conftest import CHART

UNKNOWN = [
    ({"replicas": 2}, "additional properties 'replicas' not allowed"),
    ({"facade": {"tsl": {}}}, "additional properties 'tsl' not allowed"),
    ({"facade": {"tls": {"certManager": {"issuer": "a"}}}}, "additional properties 'issuer' not allowed"),
    ({"spark": {"conf": {"master": "local"}}}, "additional properties 'master' not allowed"),
    ({"controller": {"replicas": "two"}}, "at '/controller/replicas': got string, want integer"),
    ({"controller": {"queueTimeout": "a day"}}, "at '/controller/queueTimeout'"),
    ({"facade": {"auth": "basic"}}, "at '/facade/auth': value must be one of 'kubernetes', 'none'"),
    ({"image": {"digest": "latest"}}, "at '/image/digest'"),
    ({"watchNamespaces": ["Team_A"]}, "at '/watchNamespaces/0'"),
    ({"jobs": {"namespaces": ["team-a"]}}, "at '/jobs/namespaces/0': got string, want object"),
]

TLS = {"enabled": True, "secretName": "tls"}
CONTRADICTIONS = [
    ({"image": {"repository": ""}}, "image.repository: name the operator's image"),
    ({"facade": {"tls": {"enabled": True}}}, "facade.tls.enabled: needs a certificate: set secretName"),
    ({"facade": {"tls": {"secretName": "tls"}}}, "facade.tls: a certificate is named, but enabled is false"),
    ({"facade": {"tls": {"enabled": True, "certManager": {"enabled": True}}}}, "issuerRef: name the issuer"),
    ({"facade": {"replicas": 0}}, "facade.podDisruptionBudget: there is no pod to keep, as facade.replicas is 0"),
    ({"controller": {"replicas": 0, "podDisruptionBudget": {"enabled": True}}}, "controller.podDisruptionBudget: there is no"),
    ({"facade": {"podDisruptionBudget": {"minAvailable": 2}}}, "2 of 2 pods would keep every node from being drained"),
    ({"facade": {"replicas": 3, "autoscaling": {"enabled": True}}}, "facade.replicas: is chosen by facade.autoscaling"),
    ({"facade": {"autoscaling": {"enabled": True, "minReplicas": 9}}}, "minReplicas is more than maxReplicas"),
    ({"facade": {"autoscaling": {"enabled": True}, "resources": {"requests": None}}}, "counts CPU in percent of"),
    ({"facade": {"ingress": {"enabled": True}}}, "facade.ingress.hosts: name a host"),
    ({"facade": {"httpRoute": {"enabled": True}}}, "facade.httpRoute.parentRefs: name a Gateway"),
    ({"facade": {"service": {"nodePort": 30000}}}, "facade.service.nodePort: a Service of type ClusterIP has none"),
    ({"facade": {"service": {"loadBalancerSourceRanges": ["::/0"]}}}, "are for type LoadBalancer alone"),
    ({"facade": {"enabled": False, "tls": TLS}}, "facade.tls.enabled: there is no REST API"),
    ({"facade": {"enabled": False}, "mode": "combined"}, "set mode to separate"),
    ({"mode": "combined", "facade": {"autoscaling": {"enabled": True}}}, "facade.autoscaling: replicas of the controller"),
    ({"mode": "combined", "facade": {"replicas": 3}}, "in mode combined; set controller.replicas"),
    ({"mode": "combined", "facade": {"extraArgs": ["-v"]}}, "in mode combined; set controller.extraArgs"),
    ({"mode": "combined", "facade": {"resources": {"limits": {"memory": "1Gi"}}}}, "facade.resources: the REST API has no pods"),
    ({"mode": "combined", "facade": {"serviceAccount": {"name": "a"}}}, "facade.serviceAccount: the REST API has no account"),
    ({"mode": "combined", "facade": {"serviceAccount": {"annotations": {"a": "b"}}}}, "set controller.serviceAccount"),
    ({"mode": "combined", "facade": {"podDisruptionBudget": {"minAvailable": 1}}}, "set controller.podDisruptionBudget"),
    ({"mode": "combined", "facade": {"topologySpreadConstraints": []}}, "set controller.topologySpreadConstraints"),
    ({"facade": {"podDisruptionBudget": {"maxUnavailable": 0}}}, "maxUnavailable: 0 would keep every node from being drained"),
    ({"facade": {"podDisruptionBudget": {"maxUnavailable": "0%"}}}, "maxUnavailable: 0% would keep every node from"),
    ({"facade": {"podDisruptionBudget": {"minAvailable": "100%"}}}, "minAvailable: 100% of 2 pods would keep every node"),
    ({"facade": {"podDisruptionBudget": {"minAvailable": "51%"}}}, "minAvailable: 51% of 2 pods would keep every node"),
    ({"controller": {"podDisruptionBudget": {"enabled": True, "minAvailable": "1%"}}}, "minAvailable: 1% of 1 pods would"),
    ({"rbac": {"clusterRoles": False}}, "rbac.clusterRoles: false needs watchNamespaces"),
    ({"rbac": {"clusterRoles": False}, "watchNamespaces": ["a"]}, "create TokenReviews and SubjectAccessReviews"),
    ({"rbac": {"clusterRoles": False}, "watchNamespaces": ["a"], "facade": {"auth": "none"}}, "has to see Namespace objects"),
    ({"facade": {"serviceAccount": {"create": False}}}, "facade.serviceAccount: without create, set name"),
    ({"facade": {"serviceAccount": {"name": "sparkbatch-controller"}}}, "whose rights the REST API would have"),
    ({"jobs": {"namespaces": [{"name": "a"}, {"name": "a"}]}}, "jobs.namespaces: a is there twice"),
    ({"jobs": {"namespaces": [{"name": "b"}]}, "watchNamespaces": ["a"]}, "b is not in watchNamespaces, so that no batch"),
    ({"jobs": {"namespaces": [{"name": "a", "instanceId": "1"}]}}, "kubectl label namespace a sparkbatch.dev/instance-id=1"),
    ({"facade": {"defaultNamespace": "b"}, "watchNamespaces": ["a"]}, "facade.defaultNamespace: b is not in"),
    ({"spark": {"conf": {"spark.jars": "a\nb"}}}, "spark.conf: the value of spark.jars has several lines"),
    ({"monitoring": {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}}}, "would count everything twice"),
]


@pytest.mark.parametrize(("values", "said"), UNKNOWN, ids=[json.dumps(values) for values, _ in UNKNOWN])
def test_what_the_schema_does_not_know_is_refused(helm, values, said):
    assert said in helm.refusal(values)


@pytest.mark.parametrize(("values", "said"), CONTRADICTIONS, ids=[json.dumps(values) for values, _ in CONTRADICTIONS])
def test_a_contradiction_is_refused_with_what_to_change(helm, values, said):
    assert said in helm.refusal(values)


# Budgets by which a pod may go, and values of the REST API that mode combined leaves as they are.
FINE = [
    {"facade": {"podDisruptionBudget": {"minAvailable": "50%"}}},
    {"facade": {"podDisruptionBudget": {"minAvailable": 0}}},
    {"facade": {"podDisruptionBudget": {"minAvailable": 1, "maxUnavailable": 0}}},
    {"facade": {"podDisruptionBudget": {"maxUnavailable": "1%"}}},
    {"facade": {"podDisruptionBudget": {"enabled": False, "maxUnavailable": 0}}},
    {"mode": "combined", "facade": yaml.safe_load((CHART / "values.yaml").read_text())["facade"]},
]


@pytest.mark.parametrize("values", FINE, ids=lambda values: json.dumps(values)[:80])
def test_what_contradicts_nothing_is_taken(helm, values):
    assert helm.objects(values)


def test_all_contradictions_are_told_at_once(helm):
    facade = {"tls": {"enabled": True}, "ingress": {"enabled": True}}
    error = helm.refusal({"facade": facade}, image=False)
    for said in ("image.repository", "facade.tls.enabled", "facade.ingress.hosts"):
        assert said in error


# Values that are a whole object of Kubernetes, or a map of names that are the user's.
OPEN = {
    "commonLabels", "podSecurityContext", "securityContext", "conf", "annotations", "labels", "alertLabels", "podLabels",
    "podAnnotations", "nodeSelector", "affinity", "maxActiveBatchesOf", "requests", "limits", "global",
}  # fmt: skip


def closed(schema, path=""):
    """The paths of the objects of a schema that take unknown keys, but for those of OPEN."""
    if schema.get("type") == "object" and path.rpartition(".")[2] not in OPEN and schema.get("additionalProperties") is not False:
        yield path
    for key, each in schema.get("properties", {}).items():
        yield from closed(each, f"{path}.{key}")


def test_no_part_of_the_schema_takes_unknown_keys():
    assert list(closed(json.loads((CHART / "values.schema.json").read_text()))) == []


def missing(values, schema, path=""):
    """Keys of the one that the other lacks; a map that is empty says nothing of its keys."""
    if path.rpartition(".")[2] in OPEN or not isinstance(values, dict) or not values:
        return
    known = schema.get("properties", {})
    yield from (f"{path}.{key}" for key in (values.keys() ^ known.keys()) - {"global", "claims"})
    for key in values.keys() & known.keys():
        yield from missing(values[key], known[key], f"{path}.{key}")


def test_values_and_schema_know_the_same_keys():
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert list(missing(values, json.loads((CHART / "values.schema.json").read_text()))) == []
