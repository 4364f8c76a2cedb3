import sys
from operator import add

from pyspark.sql import SparkSession

# The job that the samples name, as Spark's own examples have it.
if __name__ == "__main__":
    spark = SparkSession.builder.appName("PythonWordCount").getOrCreate()
    lines = spark.read.text(sys.argv[1]).rdd.map(lambda row: row[0])
    counts = lines.flatMap(lambda line: line.split(" ")).map(lambda word: (word, 1)).reduceByKey(add)
    for word, count in counts.collect():
        print("%s: %i" % (word, count))
    spark.stop()
