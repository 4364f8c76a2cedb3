"""What the chart makes of values."""

import re

import promql_parser
import pytest
import value_sets
import yaml

from conftest import CHART, ROOT

ENV = re.compile(r"\bSPARKBATCH_[A-Z_]+\b")


def by_kind(objects, kind):
    return [each for each in objects if each["kind"] == kind]


def without_files(text):
    """The rendered text, but for empty lines, of which versions of Helm make more or fewer, and for what is long and a file
    of its own: the definition and the dashboard."""
    parts = re.split(r"(?m)^(?=---$)", re.sub(r"\n\s*\n", "\n", text))
    return "".join(part for part in parts if not re.search(r"templates/(definition|monitoring/dashboard)\.yaml", part))


def test_values_of_pages_are_found():
    found = value_sets.of_pages()
    assert found["my-values.yaml of docs/quickstart.md"]["jobs"] == {"namespaces": [{"name": "spark-jobs", "create": True}]}
    assert found["--set crds.enabled=false of docs/upgrade.md"] == {"crds": {"enabled": False}}


@pytest.mark.parametrize("name", value_sets.ALL)
def test_every_set_of_values_that_a_page_shows_passes_helm_lint(helm, name):
    status, out, error = helm.with_values(["lint", "--strict"], value_sets.ALL[name])
    assert status == 0, out + error


@pytest.mark.parametrize("name", value_sets.ALL)
def test_no_object_is_made_twice_and_each_says_whose_it_is(helm, name):
    objects = helm.objects(value_sets.ALL[name])
    names = [(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in objects]
    assert len(names) == len(set(names))
    extra = {"sparkbatch-one", "sparkbatch-two"}
    for each in (each for each in objects if each["metadata"]["name"] not in extra):
        assert each["metadata"]["labels"]["app.kubernetes.io/instance"] == "sparkbatch", each


@pytest.mark.parametrize("name", value_sets.GOLDEN)
def test_objects_are_as_the_golden_has_them(helm, golden, name):
    golden(f"{name}.yaml", without_files(helm.text(value_sets.GOLDEN[name])))


@pytest.mark.parametrize("name", value_sets.ALL)
def test_pods_are_restricted(helm, name):
    for deployment in by_kind(helm.objects(value_sets.ALL[name]), "Deployment"):
        spec = deployment["spec"]["template"]["spec"]
        assert spec["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
        context = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
        assert [each["securityContext"] for each in spec["containers"]] == [context]


@pytest.mark.parametrize("name", value_sets.ALL)
def test_what_selects_pods_selects_those_of_one_deployment(helm, name):
    objects = helm.objects(value_sets.ALL[name])
    pods = [each["spec"]["template"]["metadata"]["labels"] for each in by_kind(objects, "Deployment")]
    selectors = [each["spec"]["selector"]["matchLabels"] for each in by_kind(objects, "PodDisruptionBudget")]
    # Those of namespaces of jobs select Spark's.
    policies = [each for each in by_kind(objects, "NetworkPolicy") if each["metadata"]["namespace"] == "sparkbatch-system"]
    selectors += [each["spec"]["podSelector"]["matchLabels"] for each in policies]
    selectors += [each["spec"]["selector"]["matchLabels"] for each in by_kind(objects, "Deployment")]
    services = by_kind(objects, "Service")
    selectors += [each["spec"]["selector"] for each in services if not each["metadata"]["name"].endswith("-metrics")]
    for selector in selectors:
        assert sum(selector.items() <= labels.items() for labels in pods) == 1, selector


@pytest.mark.parametrize("name", value_sets.ALL)
def test_each_binding_binds_a_role_that_is_made_to_an_account_that_is_made(helm, name):
    objects = helm.objects(value_sets.ALL[name])
    there = {(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in objects}
    for binding in by_kind(objects, "RoleBinding") + by_kind(objects, "ClusterRoleBinding"):
        role = binding["roleRef"]
        assert (role["kind"], binding["metadata"].get("namespace"), role["name"]) in there
        for subject in binding["subjects"]:
            assert (subject["kind"], subject["namespace"], subject["name"]) in there


@pytest.mark.parametrize("name", value_sets.ALL)
def test_pods_are_told_nothing_that_the_program_does_not_read(helm, name):
    read = {found for file in (ROOT / "src/cli").rglob("*.rs") for found in ENV.findall(file.read_text())}
    for deployment in by_kind(helm.objects(value_sets.ALL[name]), "Deployment"):
        env = [each["name"] for each in deployment["spec"]["template"]["spec"]["containers"][0]["env"]]
        assert len(env) == len(set(env))
        assert {each for each in env if ENV.fullmatch(each)} <= read


def test_every_variable_of_the_servers_can_be_given_by_a_value(helm):
    files = [ROOT / "src/cli" / name for name in ("controller.rs", "defaults.rs", "facade.rs", "redaction.rs", "mod.rs")]
    read = {found for file in files for found in ENV.findall(file.read_text())}
    rendered = helm.text(value_sets.EVERYTHING) + helm.text({"watchNamespaces": ["a"]})
    # Where POD_NAMESPACE is known, replicas elect.
    assert read - set(ENV.findall(rendered)) == {"SPARKBATCH_LEADER_ELECT"}


def test_the_two_parts_share_no_account_and_no_flag_of_the_other(helm):
    controller, facade = by_kind(helm.objects({}), "Deployment")
    accounts = [each["spec"]["template"]["spec"]["serviceAccountName"] for each in (controller, facade)]
    assert accounts == ["sparkbatch-controller", "sparkbatch-facade"]
    texts = [yaml.dump(each["spec"]["template"]["spec"]["containers"][0]) for each in (controller, facade)]
    assert "SPARKBATCH_AUTH" not in texts[0] and "8998" not in texts[0]
    assert "LEASE_IDENTITY" not in texts[1]


def test_numbers_are_whole_and_a_dollar_is_no_reference(helm):
    text = helm.text(value_sets.EVERYTHING)
    for expected in ('value: "1000000"', 'value: "team-a=2000000,team-b=0"', "spark.a=$$(POD_NAME)\\nspark.eventLog"):
        assert expected in text
    assert not re.search(r"\de\+\d", text)


def test_the_definition_is_the_programs_and_kept(helm):
    whole = yaml.safe_load((ROOT / "crds/sparkbatches.yaml").read_text())
    (made,) = by_kind(helm.objects({}), "CustomResourceDefinition")
    assert made["spec"] == whole["spec"]
    assert made["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    (made,) = by_kind(helm.objects({"crds": {"keep": False}}), "CustomResourceDefinition")
    assert "annotations" not in made["metadata"]
    assert not by_kind(helm.objects({"crds": {"enabled": False}}), "CustomResourceDefinition")


# What Prometheus adds, by the chart's monitors, and what a histogram has.
SCRAPED = {"namespace", "pod", "job", "service", "le"}


def parts(expression):
    """An expression of Prometheus and all that it is made of."""
    yield expression
    below = [getattr(expression, name, None) for name in ("lhs", "rhs", "expr", "param", "vector_selector")]
    for part in [*below, *getattr(expression, "args", [])]:
        if part is not None:
            yield from parts(part)


def test_monitoring_asks_for_metrics_and_labels_that_there_are(helm):
    rows = re.findall(r"^\| `(sparkbatch_\w+)` \| (\w+) \| ?([^|]*) ?\|", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE)
    labels_of = {}
    for name, kind, labels in rows:
        for end in ("_bucket", "_sum", "_count") if kind == "histogram" else ("",):
            labels_of[name + end] = SCRAPED | set(labels.strip().split(", "))
    monitoring = {"serviceMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}, "dashboard": {"enabled": True}}
    objects = helm.objects({"monitoring": monitoring})
    (dashboard,) = (each for each in by_kind(objects, "ConfigMap"))
    panels = yaml.safe_load(dashboard["data"]["sparkbatch.json"])["panels"]
    expressions = [target["expr"] for panel in panels for target in panel["targets"]]
    (rule,) = by_kind(objects, "PrometheusRule")
    expressions += [each["expr"] for each in rule["spec"]["groups"][0]["rules"]]
    assert len(expressions) > 30
    for text in expressions:
        # Grafana puts a length of time there.
        found = list(parts(promql_parser.parse(text.replace("$__rate_interval", "5m"))))
        selectors = [part for part in found if isinstance(part, promql_parser.VectorSelector)]
        assert selectors, text
        there = set.union(*(labels_of[selector.name] for selector in selectors))
        asked = {matcher.name for selector in selectors for matcher in selector.matchers.matchers}
        asked |= {label for part in found if isinstance(part, promql_parser.AggregateExpr) and part.modifier for label in part.modifier.labels}
        assert asked <= there, text


def test_the_chart_is_of_the_programs_version():
    version = re.search(r'^version = "(.+)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == version
