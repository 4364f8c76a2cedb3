"""Fails unless driver and executor see what the batch's fields name."""
import os
import pathlib

from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()


def told(where):
    jvm_free = {
        "env": os.environ.get("GREETING"),
        "hadoop": "greeting.value" in pathlib.Path(os.environ["HADOOP_CONF_DIR"], "core-site.xml").read_text(),
        "init": pathlib.Path("/greeting/init").read_text().strip(),
    }
    print(where, jvm_free)
    return jvm_free


expected = {"env": "hello", "hadoop": True, "init": "made by the template"}
assert told("driver") == expected
assert spark.sparkContext.parallelize([0], 1).map(lambda _: told("executor")).collect() == [expected]

loader = spark._jvm.java.lang.Thread.currentThread().getContextClassLoader()
stream = loader.getResourceAsStream("greeting.txt")
assert stream is not None, "the package is not on the driver's class path"
assert bytes(stream.readAllBytes()) == b"from a package"
assert spark._jsc.hadoopConfiguration().get("greeting.value") == "from core-site"

spark.stop()
print("every field arrived")
