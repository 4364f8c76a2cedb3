"""pylivy, as docs/clients.md uses it."""

import pytest
import requests
from livy import LivyBatch, SessionState
from livy.client import LivyClient
from livy.models import Version
from world import until

EXAMPLES = "/opt/spark/examples/src/main/python"


class Bearer(requests.auth.AuthBase):
    def __init__(self, token):
        self.token = token

    def __call__(self, request):
        request.headers["Authorization"] = f"Bearer {self.token}"
        return request


@pytest.fixture(scope="session")
def create(facade):
    """Creates a batch in the default namespace."""
    def create(what, file, **fields):
        auth = ("token", facade.token)
        return LivyBatch.create(facade.url, file=f"{EXAMPLES}/{file}", auth=auth, name=facade.name(what), **fields)

    return create


@pytest.fixture
def client(facade):
    client = LivyClient(f"{facade.url}/namespaces/{facade.namespace}", auth=Bearer(facade.token))
    yield client
    client.close()


@pytest.fixture(scope="session", autouse=True)
def batches(create):
    """All at once: they wait for Spark most of the time."""
    return {
        "long": create("long", "pi.py", args=["100000"], num_executors=1),
        "fails": create("fails", "wordcount.py"),
        "succeeds": create(
            "succeeds",
            "pi.py",
            args=["1"],
            driver_cores=1,
            driver_memory="512m",
            num_executors=1,
            spark_conf={"spark.task.maxFailures": 2, "spark.logConf": True},
        ),
    }


def test_the_version_is_one_that_pylivy_knows(facade):
    client = LivyClient(facade.url, auth=("token", facade.token))
    assert client.server_version() == Version("0.9.0")
    assert not client.legacy_server()


def test_a_killed_batch_is_forgotten_and_its_driver_goes(facade, client, batches):
    batch = batches["long"]
    until(f"batch {batch.batch_id} to run", lambda: batch.state == SessionState.RUNNING)
    assert facade.pods(batch.batch_id)
    batch.kill()
    assert client.get_batch(batch.batch_id) is None
    with pytest.raises(ValueError, match="batch session not found"):
        batch.state
    facade.until_pods_are_gone(batch.batch_id)


def test_a_batch_that_fails_is_dead_and_its_log_says_why(batches):
    batch = batches["fails"]
    assert batch.wait() == SessionState.DEAD
    assert "Usage: wordcount <file>" in batch.log()


def test_a_batch_that_succeeds_is_waited_for_listed_and_logged(facade, client, batches):
    batch = batches["succeeds"]
    state = batch.wait()
    assert state == SessionState.SUCCESS, "\n".join(batch.log(size=60))
    lines = batch.log(from_=0, size=10000)
    assert any(line.startswith("Pi is roughly 3.") for line in lines)
    assert batch.log(from_=1, size=2) == lines[1:3]
    listed = {each.batch_id: each for each in client.list_batches()}
    assert listed[batch.batch_id] == client.get_batch(batch.batch_id)
    assert listed[batch.batch_id].app_id.startswith("spark-")
    conf = facade.spec(batch.batch_id)["conf"]
    assert conf == {"spark.task.maxFailures": "2", "spark.logConf": "true"}


def test_what_is_refused_raises(client):
    with pytest.raises(requests.HTTPError) as refused:
        client.create_batch("pi.py")
    assert refused.value.response.status_code == 400
    assert "is not absolute" in refused.value.response.json()["msg"]
