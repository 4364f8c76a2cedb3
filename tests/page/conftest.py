"""The facade's program, a fake cluster for it, and a real Chromium.

SPARKBATCH_PAGE_URL: a facade that runs elsewhere, without authentication; what needs the fake cluster is then skipped.
SPARKBATCH_PAGE_SCREENSHOTS: where pictures go; by default target/page-screenshots.
"""

import contextlib
import json
import os
import random
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
from cluster import NAMESPACE, Cluster
from playwright.sync_api import expect, sync_playwright
from proxy import Proxy

ROOT = Path(__file__).parents[2]
URL = os.environ.get("SPARKBATCH_PAGE_URL")
SHOTS = Path(os.environ.get("SPARKBATCH_PAGE_SCREENSHOTS", ROOT / "target/page-screenshots"))
# How long what is expected may take, on a machine that does other things too.
expect.set_options(timeout=15_000)
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync"]


def pytest_addoption(parser):
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    parser.addoption("--program", default=target / "debug/sparkbatch", help="the facade's program")
    parser.addoption("--chromium", default="/usr/bin/chromium", help="the browser")


class Facade:
    """The program, which can be stopped and started again at the same address."""

    def __init__(self, program, cluster, folder, *arguments):
        (folder / "kubeconfig").write_text(cluster.kubeconfig())
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        listen = ["--listen", f"127.0.0.1:{self.port}", "--admin-listen", f"127.0.0.1:{free_port()}"]
        self.command = [program, "facade", *listen, "--default-namespace", NAMESPACE, *arguments]
        self.environment = os.environ | {"KUBECONFIG": str(folder / "kubeconfig")}
        self.output = folder / "facade.log"
        self.process = None

    def start(self):
        with self.output.open("a") as output:
            self.process = subprocess.Popen(self.command, env=self.environment, stdout=output, stderr=output)
        for _ in range(300):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{self.url}version", timeout=5).close()
                return
            assert self.process.poll() is None, self.output.read_text()
            time.sleep(0.05)
        raise AssertionError(f"the facade did not start: {self.output.read_text()}")

    def until_it_has(self, batches):
        for _ in range(300):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}batches?size=0", timeout=30) as answer:
                if json.load(answer)["total"] == batches:
                    return
            time.sleep(0.2)
        raise AssertionError("the facade does not have all batches")

    def stop(self):
        self.process.kill()
        self.process.wait()


def free_port():
    """Of those that no connection is given by chance, as it would be while the program starts."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as made, contextlib.suppress(OSError):
            made.bind(("127.0.0.1", port))
            return port


@pytest.fixture
def cluster():
    if URL:
        pytest.skip("needs the fake cluster")
    made = Cluster()
    yield made
    made.close()


@pytest.fixture
def run(request, cluster, tmp_path):
    """Starts the program, with arguments."""
    running = []

    def start(*arguments):
        facade = Facade(request.config.getoption("--program"), cluster, tmp_path, *arguments)
        running.append(facade)
        facade.start()
        return facade

    yield start
    for facade in running:
        facade.stop()


@pytest.fixture
def facade(run):
    return run("--auth", "none")


@pytest.fixture
def url(request):
    """Of a facade whose batches nobody moves along: one that was named, or one of our own."""
    if URL:
        return URL.rstrip("/") + "/"
    return request.getfixturevalue("facade").url


@pytest.fixture
def proxy():
    running = []

    def start(facade, prefix):
        running.append(Proxy(facade.port, prefix))
        return running[-1].url

    yield start
    for one in running:
        one.close()


@pytest.fixture(scope="session")
def browser(request):
    with sync_playwright() as playwright:
        path = request.config.getoption("--chromium")
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


# What a browser says of answers that are errors, and of servers that are gone or fill their caches: some tests want these.
FAILED = "Failed to load resource: "
EXPECTED = (f"{FAILED}the server responded with a status of 4", f"{FAILED}the server responded with a status of 503", f"{FAILED}net::ERR_")


@pytest.fixture
def open_page(browser):
    """Opens a page. At the end, none may have complained of anything: a policy's violation is told on the console."""
    contexts, complaints = [], []

    def console(message):
        if message.type in ("error", "warning") and not message.text.startswith(EXPECTED):
            complaints.append(message.text)

    def open_page(url, **options):
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("console", console)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.add_init_script("""document.addEventListener("securitypolicyviolation",
            (event) => console.error("policy: " + event.violatedDirective + " " + event.blockedURI))""")
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def picture():
    SHOTS.mkdir(parents=True, exist_ok=True)
    return lambda page, name: page.screenshot(path=SHOTS / f"{name}.png")
