"""Records what the real spark-submit makes of tests/parity/cases.json, in cluster mode, with each version of Spark.

`make parity` runs it: PySpark comes from PyPI, the API server is one that takes everything and remembers it. Writes
records/<version>.json: driver pod, properties and the other objects of each case, without what is random in them.
"""

import argparse
import http.server
import json
import re
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

HERE = Path(__file__).parent
VERSIONS = ["3.5.9", "4.0.5", "4.1.4"]
IMAGE = "spark:test"


class ApiServer(http.server.ThreadingHTTPServer):
    """Takes each object that is created or applied, and gives it a uid."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.objects = []


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def body(self):
        return json.loads(self.rfile.read(int(self.headers["Content-Length"] or 0)) or b"null")

    def answer(self, status, body):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self):
        self.answer(404, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404})

    def store(self):
        thing = self.body()
        thing["metadata"] = {"uid": f"uid-{len(self.server.objects)}"} | thing["metadata"]
        self.server.objects.append(thing)
        self.answer(201, thing)

    do_POST = do_PATCH = do_PUT = store

    def log_message(self, *_):
        pass


def arguments(case, url, folder):
    """What spark-submit is called with for a case: its spec, and what spark-submit has other words for."""
    spec = case["spec"]
    conf = {
        "spark.kubernetes.container.image": IMAGE,
        "spark.kubernetes.namespace": "jobs",
        "spark.kubernetes.authenticate.driver.serviceAccountName": "spark",
        "spark.kubernetes.submission.waitAppCompletion": "false",
        "spark.app.name": case["name"],
    }
    conf |= spec.get("conf", {}) | case.get("submit", {})
    if template := spec.get("driver", {}).get("podTemplate"):
        file = folder / f"{case['name']}.json"
        file.write_text(json.dumps({"apiVersion": "v1", "kind": "Pod"} | template))
        conf["spark.kubernetes.driver.podTemplateFile"] = str(file)
    command = ["--master", f"k8s://{url}", "--deploy-mode", "cluster"]
    flags = {
        "className": "--class", "jars": "--jars", "pyFiles": "--py-files", "files": "--files", "archives": "--archives",
        "driverMemory": "--driver-memory", "driverCores": "--driver-cores", "executorMemory": "--executor-memory",
        "executorCores": "--executor-cores", "numExecutors": "--num-executors", "name": "--name",
        "proxyUser": "--proxy-user", "queue": "--queue", "packages": "--packages", "repositories": "--repositories",
        "excludePackages": "--exclude-packages",
    }  # fmt: skip
    for field, flag in flags.items():
        if field in spec:
            value = spec[field]
            command += [flag, ",".join(value) if isinstance(value, list) else str(value)]
    for key, value in conf.items():
        if not (key == "spark.app.name" and "name" in spec):
            command += ["--conf", f"{key}={value}"]
    file = spec["file"]
    return [*command, f"local://{file}" if file.startswith("/") else file, *spec.get("args", [])]


def plain(thing):
    """Without what is random, or of the machine and the moment."""
    text = json.dumps(thing)
    rules = [
        (r"spark-[0-9a-f]{32}", "spark-APP-ID"),
        (r"spark-drv-[0-9a-f]{16}", "spark-drv-UNIQUE"),
        (r"/var/data/spark-[0-9a-f-]{36}", "/var/data/spark-UUID"),
        (r"\b([a-z][a-z0-9-]*?)-[0-9a-f]{16}-driver", r"\1-UNIQUE-driver"),
        (r"spark-[0-9a-f]{16}-driver-svc", "spark-UNIQUE-driver-svc"),
        (r"\buid-[0-9]+", "UID"),
        (r"https(\\\\)?://127\.0\.0\.1(\\\\)?:[0-9]+", "API-SERVER"),
        (r"http(\\\\)?:(//)127\.0\.0\.1(\\\\)?:[0-9]+", "API-SERVER"),
        (r"spark\.app\.submitTime=[0-9]+", "spark.app.submitTime=TIME"),
        (r"podTemplateFile=[^\\]+", "podTemplateFile=FILE"),
        (r'#[A-Z][a-z]{2} [A-Z][a-z]{2} [0-9 :]+ [A-Z]+ [0-9]{4}\\n', ""),
    ]
    for pattern, replacement in rules:
        text = re.sub(pattern, replacement, text)
    return json.loads(text)


def record(objects):
    """The objects of one case by kind; the properties of the ConfigMap one by one."""
    found = {}
    for thing in objects:
        kind, name = thing["kind"], thing["metadata"]["name"]
        found[f"{kind} {name}" if kind in found else kind] = thing
    return found


def spark_home(version, folder):
    """PySpark's files, of which the jars are all that is needed."""
    home = folder / f"pyspark-{version}"
    if not (home / "jars").is_dir():
        archive = folder / f"pyspark-{version}.tar.gz"
        if not archive.exists():
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
            pip += ["--no-deps", "--no-binary", ":all:", f"pyspark=={version}", "--dest", folder]
            subprocess.run(pip, check=True)
        with tarfile.open(archive) as tar:
            tar.extractall(folder / "new", [m for m in tar if "/deps/jars/" in m.name], filter="data")
        home.mkdir()
        (folder / "new" / f"pyspark-{version}" / "deps" / "jars").rename(home / "jars")
        archive.unlink()
    return home


def run(version, cases, folder):
    home, server = spark_home(version, folder), ApiServer()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    calls = {case["name"]: arguments(case, url, folder) for case in cases}
    (folder / "calls.json").write_text(json.dumps(calls))
    classes = folder / f"classes-{version}"
    subprocess.run(["javac", "-cp", f"{home}/jars/*", "-d", classes, HERE / "Submit.java"], check=True)
    opens = ["java.base/sun.nio.ch", "java.base/java.nio", "java.base/java.net", "java.base/java.lang"]
    command = ["java", "-Xmx1g", *(f"--add-opens={each}=ALL-UNNAMED" for each in opens)]
    command += ["-cp", f"{classes}:{home}/jars/*", "Submit", folder / "calls.json", folder / "result.json"]
    environment = {"SPARK_HOME": str(home), "PATH": "/usr/bin:/bin", "SPARK_USER": "spark", "HOME": str(folder)}
    with (folder / f"submit-{version}.log").open("wb") as log:
        subprocess.run(command, env=environment, stdout=log, stderr=log, check=True)
    server.shutdown()
    result = json.loads((folder / "result.json").read_text())
    if result["errors"]:
        sys.exit(f"{version}: spark-submit refuses {json.dumps(result['errors'], indent=1)}")
    return result, group(server.objects, cases)


def group(objects, cases):
    """A driver pod opens a case, and what it owns follows."""
    groups = []
    for thing in objects:
        if thing["kind"] == "Pod":
            groups.append([thing])
        elif groups and thing["metadata"].get("ownerReferences"):
            groups[-1].append(thing)
    if len(groups) != len(cases):
        sys.exit(f"{len(groups)} driver pods for {len(cases)} cases")
    return {case["name"]: record(plain(group)) for case, group in zip(cases, groups)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", required=True, type=Path, help="where jars are kept and logs go")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    cases = json.loads((HERE / "cases.json").read_text())
    for version in VERSIONS:
        result, records = run(version, cases, folder)
        lines = {"version": result["version"], "keys": result["keys"], "cases": records}
        (HERE / "records").mkdir(exist_ok=True)
        (HERE / "records" / f"{version}.json").write_text(json.dumps(lines, indent=1, sort_keys=True) + "\n")
        print(f"{version}: {len(records)} cases", flush=True)


if __name__ == "__main__":
    main()
