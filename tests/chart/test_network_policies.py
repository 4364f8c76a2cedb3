"""What the rendered policies let through, by the rules of Kubernetes: a pod that a policy selects gets what one allows."""

import ipaddress
from dataclasses import dataclass, field

import pytest
import yaml

from conftest import CHART


@dataclass(frozen=True)
class Pod:
    """An end of a connection. Where `namespace` is none, it is no pod."""

    namespace: str | None
    labels: dict = field(default_factory=dict)
    ports: dict = field(default_factory=dict)
    address: str = "10.244.0.9"


def spark(role, namespace="spark-jobs", batch="a", ports=None):
    return Pod(namespace, {"spark-role": role, "sparkbatch.dev/batch": batch}, ports or {})


def operator(component, release="sparkbatch"):
    own = {"app.kubernetes.io/name": "sparkbatch", "app.kubernetes.io/instance": release, "app.kubernetes.io/component": component}
    return Pod("sparkbatch-system", own)


DRIVER = spark("driver", ports={"spark-ui": 4050, "metrics": 8090})
EXECUTOR = spark("executor", ports={"metrics": 8090})
FACADE, CONTROLLER = operator("facade"), operator("controller")
SHELL = Pod("spark-jobs", {"app": "shell"})
# Of another namespace of jobs, whose policies are none of this one's.
STRANGER = spark("executor", "team-b")
PROMETHEUS = Pod("monitoring", {"app": "prometheus"})
DNS, STORE, API_SERVER = Pod("kube-system"), Pod(None, address="10.20.0.5"), Pod(None, address="10.0.0.1")

EXPRESSIONS = {"Exists": lambda labels, each: each["key"] in labels, "DoesNotExist": lambda labels, each: each["key"] not in labels}


def selects(selector, labels):
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    return all(EXPRESSIONS[each["operator"]](labels, each) for each in selector.get("matchExpressions", []))


def is_peer(peer, pod, own):
    """Whether a peer of a policy in the namespace `own` is this pod, or this address."""
    if block := peer.get("ipBlock"):
        return ipaddress.ip_address(pod.address) in ipaddress.ip_network(block["cidr"])
    if pod.namespace is None:
        return False
    namespaces = peer.get("namespaceSelector")
    is_there = pod.namespace == own if namespaces is None else selects(namespaces, {"kubernetes.io/metadata.name": pod.namespace})
    return is_there and selects(peer.get("podSelector", {}), pod.labels)


def is_port(wanted, target, protocol, port):
    """A port by its name is that which the target's container calls so."""
    number = target.ports.get(wanted["port"]) if isinstance(wanted.get("port"), str) else wanted.get("port", port)
    return wanted.get("protocol", "TCP") == protocol and number == port


def passes(policies, pod, other, target, way, protocol, port):
    """Whether policies let through what passes this pod, `ingress` or `egress`."""
    sides = {"ingress": "from", "egress": "to"}
    own = [each for each in policies if each["metadata"]["namespace"] == pod.namespace]
    own = [each["spec"] for each in own if selects(each["spec"]["podSelector"], pod.labels)]
    own = [each for each in own if way.capitalize() in each["policyTypes"]]

    def allows(rule):
        ports, peers = rule.get("ports"), rule.get(sides[way])
        is_open = not ports or any(is_port(each, target, protocol, port) for each in ports)
        return is_open and (not peers or any(is_peer(each, other, pod.namespace) for each in peers))

    return not own or any(allows(rule) for policy in own for rule in policy.get(way, []))


def connects(policies, source, target, port, protocol="TCP"):
    out = passes(policies, source, target, target, "egress", protocol, port)
    return out and passes(policies, target, source, target, "ingress", protocol, port)


@pytest.fixture
def policies(helm):
    def policies(network_policy, **values):
        jobs = {"networkPolicy": {"enabled": True} | network_policy}
        return [each for each in helm.objects({"jobs": jobs} | values) if each["kind"] == "NetworkPolicy"]

    return policies


MONITORING = {"metricsClients": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]}

# From, to, port, and whether it is let through.
FLOWS = {
    "an executor reports to the driver": (EXECUTOR, DRIVER, 7078, True),
    "an executor fetches a broadcast": (EXECUTOR, DRIVER, 7079, True),
    "an executor does not look at the UI": (EXECUTOR, DRIVER, 4050, False),
    "a driver reaches executors": (DRIVER, EXECUTOR, 40123, True),
    "executors fetch what was shuffled": (EXECUTOR, EXECUTOR, 40124, True),
    "drivers do not reach drivers": (DRIVER, DRIVER, 7078, False),
    "the REST API shows the UI, on the port that the batch chose": (FACADE, DRIVER, 4050, True),
    "the REST API gets nothing else of a driver": (FACADE, DRIVER, 7078, False),
    "the REST API gets nothing of executors": (FACADE, EXECUTOR, 40123, False),
    "the REST API of another release sees no UI": (operator("facade", "other"), DRIVER, 4050, False),
    "the controller reaches no driver": (CONTROLLER, DRIVER, 4050, False),
    "another pod of the namespace reaches no driver": (SHELL, DRIVER, 7078, False),
    "another pod of the namespace reaches no executor": (SHELL, EXECUTOR, 40123, False),
    "an executor of another namespace reaches no driver": (STRANGER, DRIVER, 7078, False),
    "Prometheus scrapes the UI": (PROMETHEUS, DRIVER, 4050, True),
    "Prometheus scrapes a driver's exporter": (PROMETHEUS, DRIVER, 8090, True),
    "Prometheus scrapes an executor's exporter": (PROMETHEUS, EXECUTOR, 8090, True),
    "Prometheus gets no shuffled blocks": (PROMETHEUS, EXECUTOR, 40123, False),
    "a driver asks the API server": (DRIVER, API_SERVER, 6443, True),
    "a driver reads data": (DRIVER, STORE, 443, True),
    "an executor reads data": (EXECUTOR, STORE, 9000, True),
    "another pod of the namespace goes where it likes": (SHELL, STORE, 443, True),
}


@pytest.mark.parametrize("flow", FLOWS)
def test_what_spark_needs_passes_and_nothing_else_comes_in(policies, flow):
    source, target, port, expected = FLOWS[flow]
    assert connects(policies(MONITORING), source, target, port) is expected


@pytest.mark.parametrize("pod", [DRIVER, EXECUTOR], ids=["driver", "executor"])
def test_names_are_found(policies, pod):
    for protocol in ("UDP", "TCP"):
        assert connects(policies({"egress": []}), pod, DNS, 53, protocol)


def test_without_clients_of_metrics_nobody_scrapes(policies):
    assert not any(connects(policies({}), PROMETHEUS, pod, port) for pod in (DRIVER, EXECUTOR) for port in (4050, 8090))


def test_what_jobs_reach_can_be_narrowed_and_spark_goes_on(policies):
    store = [{"to": [{"ipBlock": {"cidr": "10.20.0.0/16"}}], "ports": [{"port": 443}]}]
    api_server = {"apiServer": [{"ipBlock": {"cidr": "10.0.0.1/32"}}]}
    narrow = policies({"egress": store}, networkPolicy=api_server)
    assert connects(narrow, DRIVER, STORE, 443) and connects(narrow, EXECUTOR, STORE, 443)
    assert not connects(narrow, EXECUTOR, STORE, 80) and not connects(narrow, DRIVER, STORE, 6443)
    assert connects(narrow, DRIVER, API_SERVER, 6443) and not connects(narrow, EXECUTOR, API_SERVER, 6443)
    for source, target, port in ((EXECUTOR, DRIVER, 7078), (EXECUTOR, DRIVER, 7079), (DRIVER, EXECUTOR, 4), (EXECUTOR, EXECUTOR, 4)):
        assert connects(narrow, source, target, port)
    assert not connects(narrow, DRIVER, SHELL, 80)


def test_in_mode_combined_the_one_pod_shows_the_ui(policies):
    combined = policies({}, mode="combined")
    assert connects(combined, operator("combined"), DRIVER, 4050) and not connects(combined, FACADE, DRIVER, 4050)


def test_without_the_rest_api_nobody_sees_the_ui(policies):
    assert not connects(policies({}, facade={"enabled": False}), FACADE, DRIVER, 4050)


def test_the_rest_apis_own_policy_lets_it_reach_the_ui(policies):
    both = policies({}, networkPolicy={"enabled": True})
    assert connects(both, FACADE, DRIVER, 4050) and not connects(both, FACADE, SHELL, 4050)


def test_each_namespace_of_jobs_has_policies_of_its_own(helm):
    values = {"jobs": {"namespaces": [{"name": "team-a"}, {"name": "team-b"}], "networkPolicy": {"enabled": True}}}
    made = [each["metadata"] for each in helm.objects(values) if each["kind"] == "NetworkPolicy"]
    names = {(each["namespace"], each["name"]) for each in made}
    assert names == {(team, f"sparkbatch-{role}s") for team in ("team-a", "team-b") for role in ("driver", "executor")}


def test_by_default_there_are_none(helm):
    assert not yaml.safe_load((CHART / "values.yaml").read_text())["jobs"]["networkPolicy"]["enabled"]
    assert not [each for each in helm.objects({}) if each["kind"] == "NetworkPolicy"]
