#!/bin/bash
# Run by Kubernetes before it ends an executor, where decommissioning is switched on: asks the executor to hand its work
# over, by the signal that Spark listens to, and waits until it has gone or a minute has passed.
set -e
pid=$(pgrep -o -f '^[^ ]*java .*KubernetesExecutorBackend')
echo "asking executor process $pid to decommission"
kill -s PWR "$pid"
timeout 60 tail --pid="$pid" -f /dev/null || true
