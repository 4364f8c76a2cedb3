"""A word count every day, and what is to happen once it is done. See docs/airflow.md."""

from datetime import datetime, timedelta

from airflow.providers.apache.livy.operators.livy import LivyOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

with DAG(
    "word_count",
    schedule="@daily",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    default_args={"retries": 1, "retry_delay": timedelta(minutes=1), "execution_timeout": timedelta(hours=2)},
):
    count = LivyOperator(
        task_id="count",
        livy_endpoint_prefix="namespaces/spark-jobs",
        file="/opt/spark/examples/src/main/python/wordcount.py",
        args=["/opt/spark/examples/src/main/resources/people.txt"],
        # The task's own name in the list of batches; another at each try, as names are taken once.
        name="{{ dag.dag_id }}-{{ ts_nodash | lower }}-{{ ti.try_number }}",
        driver_memory="512M",
        executor_memory="512M",
        num_executors=1,
        conf={"spark.task.maxFailures": 2},
        # Looks at the batch until it has ended, and fails with it; its log becomes the task's.
        polling_interval=10,
    )
    count >> EmptyOperator(task_id="publish")
