#!/bin/bash
# The contract of Spark's own images, which Spark on Kubernetes relies on: `driver ARGS…` is spark-submit in client mode,
# `executor` is one executor configured through the environment, and anything else is run as it is.
set -e

: "${SPARK_HOME:=/opt/spark}"
# Defaults that must hold for both, and lose against everything: this folder comes last on the class path. Not in
# $SPARK_HOME/conf, because whoever mounts a configuration there hides what the image has.
export SPARK_DIST_CLASSPATH="${SPARK_DIST_CLASSPATH:+$SPARK_DIST_CLASSPATH:}$SPARK_HOME/hadoop-defaults"

# Spark asks for a user's name. An arbitrary user id has one only if it can be added.
if ! getent passwd "$(id -u)" > /dev/null; then
  if [ -w /etc/passwd ]; then
    echo "$(id -u):x:$(id -u):$(id -g):${SPARK_USER_NAME:-anonymous uid}:$SPARK_HOME/work-dir:/bin/false" >> /etc/passwd
  else
    echo "entrypoint: user id $(id -u) has no name, and none could be added" >&2
  fi
fi

case "$1" in
  driver)
    shift
    set -- "$SPARK_HOME/bin/spark-submit" \
      --conf "spark.driver.bindAddress=$SPARK_DRIVER_BIND_ADDRESS" \
      --conf "spark.executorEnv.SPARK_DRIVER_POD_IP=$SPARK_DRIVER_BIND_ADDRESS" \
      --deploy-mode client "$@"
    ;;
  executor)
    shift
    # Java options come one by one, as SPARK_JAVA_OPT_0, _1, … _10; their order matters and is the number's.
    options=()
    for number in $(compgen -A variable SPARK_JAVA_OPT_ | sed 's/^SPARK_JAVA_OPT_//' | sort -n); do
      option=SPARK_JAVA_OPT_$number
      options+=("${!option}")
    done
    class_path=${SPARK_CONF_DIR:-$SPARK_HOME/conf}
    class_path+="${HADOOP_CONF_DIR:+:$HADOOP_CONF_DIR}${SPARK_CLASSPATH:+:$SPARK_CLASSPATH}:$SPARK_HOME/jars/*"
    class_path+=${SPARK_EXTRA_CLASSPATH:+:$SPARK_EXTRA_CLASSPATH}:$PWD:$SPARK_DIST_CLASSPATH
    set -- "${JAVA_HOME:+$JAVA_HOME/bin/}java" "${options[@]}" \
      "-Xms$SPARK_EXECUTOR_MEMORY" "-Xmx$SPARK_EXECUTOR_MEMORY" -cp "$class_path" \
      org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend \
      --driver-url "$SPARK_DRIVER_URL" \
      --executor-id "$SPARK_EXECUTOR_ID" \
      --cores "$SPARK_EXECUTOR_CORES" \
      --app-id "$SPARK_APPLICATION_ID" \
      --hostname "$SPARK_EXECUTOR_POD_IP" \
      --resourceProfileId "$SPARK_RESOURCE_PROFILE_ID" \
      --podName "$SPARK_EXECUTOR_POD_NAME"
    ;;
  *)
    exec "$@"
    ;;
esac

# As process 1, tini passes signals on and buries what Python workers leave behind.
exec /usr/bin/tini -s -- "$@"
