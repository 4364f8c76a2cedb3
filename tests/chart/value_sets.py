"""Values that the tests render: those that the chart's README and other pages show, and some that show more at once."""

import re

import yaml

from conftest import CHART, ROOT


def of_readme():
    """Each YAML block of the README, by the words in bold before it."""
    text = (CHART / "README.md").read_text().partition("\n## Values\n")[0]
    sets, title = {}, "Jobs"
    for bold, block in re.findall(r"^\*\*(.+?)\*\*|^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        if bold:
            title = bold
        else:
            name = title if title not in sets else f"{title}, another way"
            sets[name] = yaml.safe_load(block)
    return sets


def of_pages():
    """Of every page: each YAML block whose first line names it a file of values, and each --set."""
    sets = {}
    for page in [ROOT / "README.md", CHART / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        text, name = page.read_text(), page.relative_to(ROOT)
        for file, block in re.findall(r"^```yaml\n# (\S*values\.yaml)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            sets[f"{file} of {name}"] = yaml.safe_load(block)
        for flag in re.findall(r"--set ([^\s`)]+)", text):
            sets[f"--set {flag} of {name}"] = of_flag(flag)
    return sets


def of_flag(flag):
    """What `--set a.b=c` is as values. Lists, and several in one, no page shows."""
    key, _, value = flag.partition("=")
    values = yaml.safe_load(value)
    for part in reversed(key.split(".")):
        values = {part: values}
    return values


def _pods():
    """What the pods of a part can be given."""
    return {
        "podLabels": {"team": "data"},
        "podAnnotations": {"note": "it's"},
        "nodeSelector": {"pool": "system"},
        "tolerations": [{"key": "system", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"},
            {"maxSkew": 2, "topologyKey": "host", "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {}},
        ],
        "priorityClassName": "system-cluster-critical",
        "extraArgs": ["--log-filter=debug"],
        "extraEnv": [{"name": "OTEL_TRACES_SAMPLER", "value": "always_on"}],
        "extraEnvFrom": [{"secretRef": {"name": "more"}}],
        "extraVolumes": [{"name": "tmp", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }


# Everything on, and everything given a value.
EVERYTHING = {
    "commonLabels": {"cost-center": "42"},
    "image": {"registry": "registry.example.com", "repository": "sparkbatch", "digest": "sha256:" + 64 * "a"},
    "imagePullSecrets": [{"name": "registry"}],
    "jobs": {
        "namespaces": [{"name": "team-a"}, {"name": "team-b", "create": True, "instanceId": "43f79a18"}],
        "serviceAccount": {"name": "driver", "annotations": {"role": "arn"}},
        "networkPolicy": {"enabled": True, "metricsClients": [{"namespaceSelector": {}}]},
    },
    "spark": {"imagePullPolicy": "Always", "conf": {"spark.eventLog.enabled": True, "spark.a": "$(POD_NAME)"}},
    "tracesEndpoint": "http://collector:4318",
    "controller": {
        "replicas": 2,
        "maxActiveBatches": 1000000,
        "maxActiveBatchesOf": {"team-a": 2000000, "team-b": 0},
        "queueTimeout": "12h",
        "pendingTimeout": "5m",
        "driverStartTimeout": "1h 30m",
        "runningTimeout": "24h",
        "ttlAfterFinished": "168h",
        "podRetention": "on-failure",
        "infrastructureRetries": 3,
        "shards": 2,
        "serviceAccount": {"annotations": {"role": "arn"}},
        "podDisruptionBudget": {"enabled": True, "minAvailable": "50%"},
        **_pods(),
    },
    "facade": {
        "proxyUser": "rbac",
        "rateLimit": 1000000,
        "defaultNamespace": "team-b",
        "instanceIdFromNamespaceName": True,
        "instanceExtensions": True,
        "logMarkers": True,
        "requireRequestedBy": True,
        "secretConfPattern": "(?i)token|secret",
        "historyUrlTemplate": "https://history/history/{app_id}/jobs/",
        "tls": {
            "enabled": True,
            "certManager": {"enabled": True, "issuerRef": {"name": "internal"}, "dnsNames": ["spark.internal"]},
        },
        "service": {"type": "LoadBalancer", "port": 443, "nodePort": 30443, "loadBalancerSourceRanges": ["10.0.0.0/8"]},
        "ingress": {"enabled": True, "hosts": ["a.example"], "path": "/spark/", "tls": [{"hosts": ["a.example"]}]},
        "httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}], "hostnames": ["b.example"]},
        "autoscaling": {"enabled": True},
        "podDisruptionBudget": {"minAvailable": 1},
        **_pods(),
    },
    "networkPolicy": {
        "enabled": True,
        "apiServer": [{"ipBlock": {"cidr": "10.0.0.1/32"}}],
        "extraEgress": [{"ports": [{"port": 4318}]}],
    },
    "monitoring": {
        "serviceMonitor": {"enabled": True, "interval": "30s"},
        "prometheusRule": {"enabled": True, "alertLabels": {"team": "data"}, "extraRules": [{"record": "a", "expr": "1"}]},
        "dashboard": {"enabled": True, "annotations": {"folder": "spark"}},
    },
    "extraObjects": [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-one"}},
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}-two\n",
    ],
}

# What the goldens hold in full.
GOLDEN = {
    "defaults": {},
    "combined": of_readme()["One pod"],
    "no-cluster-role": of_readme()["No ClusterRole at all"],
    "everything": EVERYTHING,
}

ALL = {"nothing": {}, "everything": EVERYTHING, "without authentication": {"facade": {"auth": "none"}}, **of_readme(), **of_pages()}
