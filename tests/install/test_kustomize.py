"""Every kustomization is one that a real API server takes."""

import pytest

from conftest import JOBS, ROOT

FOLDERS = ["base", "separate", "driver", "rights/people", "overlays/demo", "overlays/namespaced"]


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_api_server_takes_it(cluster, folder):
    text = cluster.run("kustomize", str(ROOT / "deploy/kustomize" / folder)).stdout
    words = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", "-"]
    # The drivers' part is of no namespace of its own.
    cluster.kubectl(*words, *(["--namespace", JOBS] if folder == "driver" else []), text=text)
