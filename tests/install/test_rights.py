"""What each service account of a release may do, by the API server's own word, and what is where no ClusterRole may be."""

import re

import pytest

from conftest import JOBS, RELEASE, SYSTEM
from value_sets import of_readme

NONE = of_readme()["No ClusterRole at all"]
OWN = f"app.kubernetes.io/instance={RELEASE}"
# Everybody who is logged in has these.
EVERYBODYS = "selfsubject", "selfsubjectreviews", "/"


def ordered(line):
    """What is in brackets by its name: rules of several roles come in any order."""
    return re.sub(r"\[([^]]*)\]", lambda words: f"[{' '.join(sorted(words[1].split()))}]", line)


def may(cluster, namespace, account, where):
    """`kubectl auth can-i --list`, without what everybody may."""
    user = f"--as=system:serviceaccount:{namespace}:{account}"
    listed = cluster.kubectl("auth", "can-i", "--list", user, "--namespace", where, "--no-headers")
    lines = [ordered(" ".join(line.split())) for line in listed.splitlines() if line.strip()]
    return sorted(line for line in lines if not line.startswith(EVERYBODYS[:1]) and not line.startswith("[/"))


@pytest.fixture(params=["separate", "combined", "no ClusterRole"])
def installed(cluster, request):
    values = {"separate": {}, "combined": {"mode": "combined"}}.get(request.param, NONE | {"watchNamespaces": [JOBS]})
    cluster.helm(values)
    yield request.param
    cluster.uninstall()


def test_each_service_account_may_do_what_its_golden_says(cluster, installed, golden):
    text = ""
    accounts = [(SYSTEM, each["metadata"]["name"]) for each in cluster.items("serviceaccounts", "--namespace", SYSTEM, "-l", OWN)]
    for namespace, account in [*accounts, (JOBS, "spark")]:
        for where in (SYSTEM, JOBS, "default"):
            text += f"# {namespace}/{account} in {where}\n" + "".join(f"{line}\n" for line in may(cluster, namespace, account, where))
    golden(f"{installed.replace(' ', '-')}.txt", text)
    if installed == "no ClusterRole":
        for kind in ("clusterroles", "clusterrolebindings"):
            assert not cluster.items(kind, "--selector", OWN)
        cluster.submit("namespaced")
        cluster.until_phase("namespaced", "Succeeded")
        cluster.kubectl("delete", "sparkbatch", "namespaced", "--namespace", JOBS)
