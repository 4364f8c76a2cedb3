{{- /* (list . "the label by which the release's own metrics are known") */}}
{{- define "sparkbatch.alerts" -}}
{{- $own := last . }}
{{- $values := (first .).Values }}
- alert: SparkbatchGone
  expr: absent(sparkbatch_build_info{ {{- $own -}} })
  for: 10m
  severity: critical
  summary: No metrics of sparkbatch
  description: No pod of the operator is there, or Prometheus does not reach them.
- alert: SparkbatchNobodyLeads
  expr: max by (shard) (sparkbatch_leader{ {{- $own -}} }) == 0
  for: 5m
  severity: critical
  summary: No controller acts for shard {{ `{{ $labels.shard }}` }}
  description: Its batches do not start, and do not end. The controllers' logs say why they cannot hold the Lease.
- alert: SparkbatchControllerGone
  expr: absent(sparkbatch_leader{ {{- $own -}} })
  for: 10m
  severity: critical
  summary: No metrics of a controller
  description: None is there, or Prometheus does not reach it. Batches that run go on; none starts, and none is seen to end.
- alert: SparkbatchForbidden
  expr: sum(rate(sparkbatch_reconcile_duration_seconds_count{ {{- $own -}} ,result="forbidden"}[10m])) > 0
  for: 10m
  severity: critical
  summary: The controller lacks a right
  description: The API server refuses what it asks for. Its log names the right, and the chart's roles have it.
- alert: SparkbatchLooksFail
  expr: >-
    sum(rate(sparkbatch_reconcile_duration_seconds_count{ {{- $own -}} ,result!="ok"}[10m]))
    > 0.2 * sum(rate(sparkbatch_reconcile_duration_seconds_count{ {{- $own -}} }[10m]))
  for: 15m
  severity: warning
  summary: One reconciliation in five fails
  description: The controller's log and sparkbatch_reconcile_duration_seconds by result say how.
- alert: SparkbatchBatchesFail
  expr: max(sparkbatch_failing_batches{ {{- $own -}} }) > 0
  for: 30m
  severity: warning
  summary: The controller cannot go on with {{ `{{ $value }}` }} batches
  description: They are looked at ever more rarely. Their status and Events say what is refused.
- alert: SparkbatchBatchesUnreadable
  expr: max(sparkbatch_unreadable_batches{ {{- $own -}} }) > 0
  for: 30m
  severity: warning
  summary: The operator cannot read {{ `{{ $value }}` }} batches
  description: Another version of it wrote them, and they are left alone. Install that version or a later one.
- alert: SparkbatchStartsSlowly
  expr: histogram_quantile(0.9, sum by (le) (rate(sparkbatch_start_latency_seconds_bucket{ {{- $own -}} ,until="created"}[15m]))) > 30
  for: 15m
  severity: warning
  summary: Driver pods are created late
  description: One batch in ten waits for more than 30 s. Is the API server slow, a quota used up, or a queue full?
- alert: SparkbatchBusy
  expr: max(sparkbatch_reconciles_in_flight{ {{- $own -}} }) >= {{ int64 $values.controller.concurrency }}
  for: 15m
  severity: warning
  summary: The controller is busy without a pause
  description: Batches wait to be looked at. Give controller.concurrency more, or controller.shards and replicas.
- alert: SparkbatchInfrastructureFails
  expr: sum(increase(sparkbatch_batches_finished_total{ {{- $own -}} ,phase="Failed",reason=~"DriverEvicted|DriverLost|DriverPreempted|DriverStartTimeout|ImagePullFailed|NodeLost|Unschedulable"}[1h])) > 5
  for: 5m
  severity: warning
  summary: Batches fail for no fault of their applications
  description: More than five in an hour were evicted, preempted, lost, or never came to run.
- alert: SparkbatchWatchesFail
  expr: >-
    sum(rate(sparkbatch_controller_watch_errors_total{ {{- $own -}} }[15m])) > 0.1
    or sum(rate(sparkbatch_watch_errors_total{ {{- $own -}} }[15m])) > 0.1
  for: 15m
  severity: warning
  summary: Watches break again and again
  description: What the operator knows of the cluster is late. Its log says what the API server answers.
{{- if $values.facade.enabled }}
- alert: SparkbatchRestFails
  expr: >-
    sum(rate(sparkbatch_http_requests_total{ {{- $own -}} ,status=~"5.."}[10m]))
    > 0.05 * sum(rate(sparkbatch_http_requests_total{ {{- $own -}} }[10m]))
  for: 10m
  severity: critical
  summary: One request in twenty is answered with 5xx
  description: The log has the reason of each.
- alert: SparkbatchRestTurnsAway
  expr: >-
    sum(rate(sparkbatch_http_rejected_total{ {{- $own -}} }[10m])) > 1
    or sum(rate(sparkbatch_http_connections_turned_away_total{ {{- $own -}} }[10m])) > 1
  for: 10m
  severity: warning
  summary: The REST API turns requests away
  description: sparkbatch_http_rejected_total names the bound that is reached. More replicas, or callers that ask less?
{{- end }}
{{- end }}
