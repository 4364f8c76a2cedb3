"""The two servers that are asked: Livy 0.7.1 with a stub spark-submit, and the facade in a namespace of its own."""

import argparse
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from wire import Request, send

HERE = Path(__file__).parent


def arguments(description):
    """A parser of what every program takes that starts servers. What was started is ended with the program."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--facade", required=True, help="the built program")
    parser.add_argument("--kubeconfig", required=True)
    parser.add_argument("--kubectl", default="kubectl")
    parser.add_argument("--folder", required=True, type=Path, help="where logs and the servers' files go")
    return parser


class Server:
    """A process on a port of the loopback, for as long as it is entered; what it started ends with it."""

    def __init__(self, name, command, port, environment, folder):
        self.name, self.port, self.log = name, port, folder / f"{type(self).__name__.lower()}.log"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                command, env=os.environ | environment, stdout=output, stderr=output, start_new_session=True
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            pass
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def wait(self, path, port, seconds=60):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError):
                if send(port, Request("GET", path)).status == 200:
                    return
            time.sleep(0.05)
        raise SystemExit(f"{self.name} did not start; its log is {self.log}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# conf/spark-blacklist.conf.template of Livy 0.9, which users are told to copy.
RESERVED = ["spark.master", "spark.submit.deployMode", "spark.yarn.jar", "spark.yarn.jars", "spark.yarn.archive"]


class Livy(Server):
    """Livy 0.7.1. It starts with Java 17, too, as it needs none of what has been locked away since 8."""

    version = "0.7.1"
    # Requests that are refused use up ids just as they did under the Livy that was captured.
    counts_alike = True

    # It starts in half the time, and need not be fast.
    JAVA = ("-Xmx256m", "-XX:TieredStopAtLevel=1")

    def __init__(self, jars, folder, settings, java=JAVA):
        home = folder / "livy"
        shutil.rmtree(home, ignore_errors=True)
        for part in ("conf", "logs", "spark/bin"):
            (home / part).mkdir(parents=True)
        shutil.copy(HERE / "stub.sh", home / "spark/bin/spark-submit")
        port = free_port()
        settings = {
            "livy.server.host": "127.0.0.1",
            "livy.server.port": port,
            "livy.spark.master": "local",
            "livy.file.local-dir-whitelist": "/data",
        } | settings
        lines = [f"{key} = {value}\n" for key, value in settings.items()]
        (home / "conf/livy.conf").write_text("".join(lines))
        (home / "conf/spark-blacklist.conf").write_text("\n".join(RESERVED))
        (home / "conf/log4j.properties").write_text(
            "log4j.rootLogger=INFO, out\nlog4j.appender.out=org.apache.log4j.ConsoleAppender\n"
            "log4j.appender.out.layout=org.apache.log4j.SimpleLayout\n"
        )
        environment = {
            "LIVY_HOME": str(home),
            "LIVY_CONF_DIR": str(home / "conf"),
            "SPARK_HOME": str(home / "spark"),
        }
        path = f"{home}/conf:{jars}/*"
        command = ["java", *java, "-cp", path, "org.apache.livy.server.LivyServer"]
        super().__init__("Livy 0.7.1", command, port, environment, folder)

    def ready(self):
        self.wait("/version", self.port)


class Facade(Server):
    """The built program, out of the cluster; everybody may call it, unless said otherwise."""

    counts_alike = False

    def __init__(self, program, kubeconfig, folder, namespace, flags, auth="none"):
        port, self.admin = free_port(), free_port()
        command = [program, "facade", "--auth", auth, "--listen", f"127.0.0.1:{port}"]
        command += ["--admin-listen", f"127.0.0.1:{self.admin}", "--default-namespace", namespace, *flags]
        super().__init__("the facade", command, port, {"KUBECONFIG": kubeconfig}, folder)

    def ready(self):
        self.wait("/readyz", self.admin)
