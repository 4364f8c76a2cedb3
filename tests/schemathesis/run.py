"""schemathesis over /openapi.json, against a facade process and a real API server.

Called by tests/run schemathesis. The namespace has no room for pods, so that batches are made and deleted, and none runs.
"""

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "conformance"))
from hooks import NAMESPACE  # noqa: E402
from servers import Facade, arguments  # noqa: E402

CASES = 10_000
# So that whatever keeps the rules is accepted. The image is in answers to dry runs only.
FLAGS = ["--proxy-user", "any", "--spark-image", "example.com/spark:1"]
# As it is, and with everything that an instance can have.
SERVERS = {"plain": [], "extensions": ["--instance-extensions"]}
METADATA = {"name": NAMESPACE, "labels": {"sparkbatch.dev/instance-id": NAMESPACE}}
MANIFESTS = [
    {"apiVersion": "v1", "kind": "Namespace", "metadata": METADATA},
    {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "no-pods", "namespace": NAMESPACE},
        "spec": {"hard": {"pods": "0"}},
    },
]


@contextlib.contextmanager
def namespace(kubectl):
    def run(*arguments, text=None):
        subprocess.run([*kubectl, *arguments], input=text, text=True, check=True, stdout=subprocess.DEVNULL)

    gone = ["delete", "namespace", NAMESPACE, "--ignore-not-found"]
    run(*gone)
    try:
        run("apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": MANIFESTS}))
        yield
    finally:
        run(*gone, "--wait=false")


def schemathesis(name, flags, options, more):
    """What it printed, whether it was content, and how many cases it made."""
    folder = options.folder / name
    folder.mkdir(parents=True, exist_ok=True)
    with Facade(options.facade, options.kubeconfig, folder, NAMESPACE, [*FLAGS, *flags]) as facade:
        facade.ready()
        url = f"http://127.0.0.1:{facade.port}"
        command = [sys.executable, "-m", "schemathesis.cli", "--config-file", HERE / "schemathesis.toml", "run"]
        command += [f"{url}/openapi.json", "--url", url, "--max-examples", str(options.max_examples), *more]
        environment = os.environ | {"SCHEMATHESIS_HOOKS": str(HERE / "hooks.py")}
        # It leaves files where it runs.
        done = subprocess.run(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
    counted = re.findall(r"(\d+) generated", done.stdout)
    return done.stdout, done.returncode == 0, int(counted[-1]) if counted else 0


def main():
    parser = arguments(__doc__)
    parser.add_argument("--max-examples", type=int, default=160, help="most cases of an operation in one phase")
    options, more = parser.parse_known_args()
    began, content, cases = time.monotonic(), True, 0
    # A process of its own for each: schemathesis computes more than it waits.
    with namespace(shlex.split(options.kubectl)), ThreadPoolExecutor() as pool:
        runs = [pool.submit(schemathesis, name, flags, options, more) for name, flags in SERVERS.items()]
        for run in runs:
            printed, fine, made = run.result()
            print(printed)
            content, cases = content and fine, cases + made
    print(f"{cases} cases in {time.monotonic() - began:.0f} s")
    if not content:
        sys.exit(f"schemathesis found failures; the facades' logs are in {options.folder}")
    if cases < CASES:
        sys.exit(f"{cases} cases are fewer than {CASES}; raise --max-examples")


if __name__ == "__main__":
    main()
