"""What the tests of every client start from, and a clean end."""

import tempfile
from pathlib import Path

import pytest
from world import Facade, Run


@pytest.fixture(scope="session")
def facade():
    facade = Facade()
    yield facade
    for batch in facade.ids(facade.prefix):
        facade.forget(batch)


@pytest.fixture(scope="session")
def folder():
    with tempfile.TemporaryDirectory(prefix="sparkbatch-clients-") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def start(facade, folder):
    """Starts a client's process; what still runs at the end is ended, before its batches are deleted."""
    runs = []

    def start(command, **options):
        runs.append(Run(command, folder / f"log-{len(runs)}", **options))
        return runs[-1]

    yield start
    for run in runs:
        if run.process.poll() is None:
            run.process.kill()
            run.process.wait()
