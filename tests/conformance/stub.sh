#!/bin/bash
# Stands in for Spark: as Livy's spark-submit, and as what runs in the operator's driver pods. What it prints is what
# the stub printed under the Livy that was captured; the last argument says how it goes on.
case ${!#} in
  --version) printf 'version 2.4.5\nUsing Scala version 2.11.12\n' ;;
  sleep) echo "ARGS: $*"; seq -f 'line %g' 30; exec sleep 600 ;;
  fail) printf 'ARGS: %s\nboom\n' "$*"; exit 1 ;;
  *) echo "ARGS: $*"; seq -f 'line %g' 150 ;;
esac
