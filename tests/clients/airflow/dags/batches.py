"""LivyOperator in each of its ways. What is said here of connections and prefixes is what docs/clients.md says."""

import os
from datetime import datetime

from airflow.providers.apache.livy.operators.livy import LivyOperator
from airflow.providers.apache.livy.sensors.livy import LivySensor
from airflow.sdk import DAG

EXAMPLES = "/opt/spark/examples/src/main/python"
# Ends well without a SparkContext: enough where it is about the way to the end.
SHORT = "/opt/spark/find_spark_home.py"
NAMESPACE = f"namespaces/{os.environ['CLIENTS_NAMESPACE']}"
INSTANCE = f"v3/analytics_engines/{os.environ['CLIENTS_INSTANCE']}/livy"


def dag(name):
    return DAG(name, schedule=None, start_date=datetime(2026, 1, 1), catchup=False)


def name(what):
    return f"{os.environ['CLIENTS_PREFIX']}-{what}"


with dag("ends_well"):
    LivyOperator(
        task_id="polled",
        livy_endpoint_prefix=NAMESPACE,
        extra_headers={"X-Requested-By": "airflow"},
        file=f"{EXAMPLES}/pi.py",
        name=name("polled"),
        args=[1, "not looked at", 2.5],
        driver_cores=1,
        driver_memory="512M",
        executor_cores=1,
        executor_memory="512mb",
        num_executors=1,
        conf={"spark.task.maxFailures": 2, "spark.app.name": "By Airflow"},
        polling_interval=1,
    )
    # A deferred operator forgets its prefix; a connection to the namespace needs none.
    LivyOperator(
        task_id="deferred",
        livy_conn_id="livy_namespace",
        file=SHORT,
        name=name("deferred"),
        deferrable=True,
        polling_interval=1,
    )
    # The instance dialect has no logs, which an operator that polls fetches at the end: a sensor waits instead.
    sensed = LivyOperator(task_id="sensed", livy_endpoint_prefix=INSTANCE, file=SHORT, name=name("sensed"))
    sensed >> LivySensor(
        task_id="sensor",
        endpoint_prefix=INSTANCE,
        batch_id="{{ ti.xcom_pull('sensed') }}",
        poke_interval=1,
        timeout=600,
    )

with dag("ends_badly"):
    fails = LivyOperator(
        task_id="fails",
        file=f"{EXAMPLES}/wordcount.py",
        name=name("fails"),
        driver_cores="1",
        executor_cores="1",
        num_executors="1",
        polling_interval=1,
    )
    fails >> LivyOperator(
        task_id="killed",
        trigger_rule="all_done",
        file=f"{EXAMPLES}/pi.py",
        name=name("killed"),
        args=[100000],
        num_executors=1,
        polling_interval=1,
    )
