"""Airflow's provider for Livy: DAGs by `airflow dags test`, and the hook by itself."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from world import say, until

HERE = Path(__file__).parent
AIRFLOW = [sys.executable, "-m", "airflow"]


@pytest.fixture(scope="session")
def settings(facade):
    """The environment of an Airflow whose connections are as docs/clients.md has them."""
    default = {"conn_type": "livy", "host": facade.url, "login": "token", "password": facade.token}
    namespace = {
        "conn_type": "livy",
        "host": f"{facade.url}/namespaces/{facade.namespace}",
        "extra": {"Authorization": f"Bearer {facade.token}"},
    }
    return {
        "AIRFLOW_CONN_LIVY_DEFAULT": json.dumps(default),
        "AIRFLOW_CONN_LIVY_NAMESPACE": json.dumps(namespace),
        "AIRFLOW__CORE__DAGS_FOLDER": str(HERE / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "CLIENTS_NAMESPACE": facade.namespace,
        "CLIENTS_INSTANCE": facade.instance,
        "CLIENTS_PREFIX": facade.prefix,
    }


@pytest.fixture(scope="session")
def home(folder):
    """A home with a database."""
    home = folder / "home"
    environment = {**os.environ, "AIRFLOW_HOME": str(home)}
    subprocess.run([*AIRFLOW, "db", "migrate"], check=True, capture_output=True, timeout=300, env=environment)
    return home


@pytest.fixture(scope="session", autouse=True)
def runs(home, settings, start):
    """Both DAGs at once, each with a database of its own: SQLite has one writer."""
    def run(dag):
        own = home.with_name(dag)
        shutil.copytree(home, own)
        environment = {**os.environ, **settings, "AIRFLOW_HOME": str(own)}
        # The copied configuration names the database that it was made with.
        environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = f"sqlite:///{own}/airflow.db"
        return start([*AIRFLOW, "dags", "test", dag], env=environment)

    return {dag: run(dag) for dag in ["ends_badly", "ends_well"]}


@pytest.fixture
def hook(home, settings, facade, monkeypatch):
    for key, value in {**settings, "AIRFLOW_HOME": str(home)}.items():
        monkeypatch.setenv(key, value)
    from airflow.providers.apache.livy.hooks.livy import LivyHook

    return LivyHook(endpoint_prefix=f"namespaces/{facade.namespace}")


def test_a_job_that_fails_fails_its_task_and_its_log_is_the_tasks(facade, runs):
    run = runs["ends_badly"]
    batch = run.submits(facade, "fails")
    facade.ends(batch, "dead")
    run.tells(f"Batch with id {batch} terminated with state: dead")
    run.tells("Usage: wordcount <file>")
    run.tells(f"AirflowException: Batch {batch} did not succeed")
    spec = facade.spec(batch)
    assert [spec[field] for field in ("driverCores", "executorCores", "numExecutors")] == [1, 1, 1]


def test_an_operator_that_is_killed_deletes_its_batch_and_the_driver_goes(facade, runs):
    run = runs["ends_badly"]
    batch = run.submits(facade, "killed")
    run.tells(f"Generated batch-id is {batch}")
    until(f"batch {batch} to run", lambda: facade.state(batch) == "running")
    assert facade.pods(batch)
    say(f"SIGTERM to the operator that polls batch {batch}")
    run.process.send_signal(signal.SIGTERM)
    run.tells(f"Deleting batch session {batch}")
    facade.until_pods_are_gone(batch)
    assert facade.ids(facade.name("killed")) == []
    run.ends(1)


def test_a_job_that_succeeds_is_polled_to_its_end_and_its_log_is_the_tasks(facade, runs):
    run = runs["ends_well"]
    batch = run.submits(facade, "polled")
    facade.ends(batch, "success")
    run.tells(f"Batch with id {batch} terminated with state: success")
    run.tells("Pi is roughly 3.")
    spec = facade.spec(batch)
    sent = {
        "args": ["1", "not looked at", "2.5"],
        "driverCores": 1,
        "driverMemory": "512M",
        "executorCores": 1,
        "executorMemory": "512mb",
        "numExecutors": 1,
        "conf": {"spark.task.maxFailures": "2", "spark.app.name": "By Airflow"},
    }
    assert {field: spec[field] for field in sent} == sent


def test_a_deferred_operator_is_woken_by_its_trigger_and_a_sensor_waits_in_the_instance_dialect(facade, runs):
    run = runs["ends_well"]
    for what, text in [("deferred", "deferred completed with response"), ("sensed", "Success criteria met")]:
        batch = run.submits(facade, what)
        facade.ends(batch, "success")
        run.tells(text)
    run.ends(0)


def test_the_hook_does_each_of_its_calls(facade, hook, capfd):
    usage = "/opt/spark/examples/src/main/python/wordcount.py"
    batch = hook.post_batch(file=usage, name=facade.name("hook"))
    shown = hook.get_batch(batch)
    assert (shown["id"], shown["name"]) == (batch, facade.name("hook"))
    assert "appId" in shown
    facade.ends(batch, "dead")
    assert hook.get_batch_state(batch).value == "dead"
    page = hook.get_batch_logs(batch, 1, 2)
    assert (page["id"], page["from"], len(page["log"])) == (batch, 1, 2)
    assert page["total"] > 2
    hook.dump_batch_logs(batch)
    assert "Usage: wordcount <file>" in "".join(capfd.readouterr())
    assert hook.delete_batch(batch) == {"msg": "deleted"}


def test_the_dag_of_the_documentation_is_one(home):
    sample = HERE.parents[2] / "deploy" / "samples" / "word_count_dag.py"
    environment = {**os.environ, "AIRFLOW_HOME": str(home)}
    subprocess.run([sys.executable, str(sample)], check=True, timeout=120, env=environment)


def test_what_is_refused_is_told(hook):
    from airflow.exceptions import AirflowException

    with pytest.raises(AirflowException, match="Status code: 400.*is not absolute"):
        hook.post_batch(file="pi.py")
    with pytest.raises(AirflowException, match="Session '2147483647' not found"):
        hook.get_batch_state(2147483647)
