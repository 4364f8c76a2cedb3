"""Helm 3, which many still have; and the way from it to Helm 4, which writes objects in another way."""

from conftest import RELEASE, SYSTEM


def test_what_helm_3_installs_runs_batches_and_is_upgraded_by_helm_3_and_by_helm_4(cluster):
    try:
        _, seconds = cluster.helm({}, program="helm3")
        print(f"helm 3 install to ready: {seconds:.1f} s")
        cluster.submit("third")
        cluster.until_phase("third", "Succeeded")
        for program in ("helm3", "helm"):
            cluster.helm({"commonLabels": {"upgraded-by": program}}, program=program)
            assert cluster.get("service", RELEASE, SYSTEM)["metadata"]["labels"]["upgraded-by"] == program
        assert cluster.get("sparkbatch", "third")["status"]["phase"] == "Succeeded"
    finally:
        cluster.uninstall()
    assert not cluster.items("deployments", "--namespace", SYSTEM)
    assert cluster.get("sparkbatch", "third"), "an uninstall takes no batches along"
    cluster.kubectl("delete", "customresourcedefinition/sparkbatches.sparkbatch.dev")
