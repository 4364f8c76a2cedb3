{{- /* A variable, unless its value is empty: (list "NAME" value). A `$(` in it is no reference to another variable. */}}
{{- define "sparkbatch.variable" -}}
{{- $value := last . }}
{{- if not (or (kindIs "invalid" $value) (eq (toString $value) "")) }}
- {name: {{ first . }}, value: {{ toString $value | replace "$(" "$$(" | quote }}}
{{- end }}
{{- end }}

{{- /* A flag, if it is set. */}}
{{- define "sparkbatch.flag" -}}
{{- include "sparkbatch.variable" (list (first .) (ternary "true" "" (last .))) }}
{{- end }}

{{- /* Numbers come as floats, and large ones would be written as 1e+06. */}}
{{- define "sparkbatch.number" -}}
{{- if not (kindIs "invalid" (last .)) }}{{ include "sparkbatch.variable" (list (first .) (int64 (last .))) }}{{ end }}
{{- end }}

{{- define "sparkbatch.commonEnv" -}}
{{- $conf := list }}
{{- range $key, $value := .Values.spark.conf }}
{{- $conf = append $conf (printf "%s=%v" $key $value) }}
{{- end -}}
- {name: SPARKBATCH_ADMIN_LISTEN, value: "0.0.0.0:8080"}
{{- include "sparkbatch.variable" (list "SPARKBATCH_LOG_FILTER" .Values.log.filter) }}
{{- include "sparkbatch.variable" (list "SPARKBATCH_LOG_FORMAT" .Values.log.format) }}
{{- include "sparkbatch.variable" (list "SPARKBATCH_NAMESPACES" (join "," .Values.watchNamespaces)) }}
{{- include "sparkbatch.variable" (list "SPARKBATCH_SPARK_IMAGE" .Values.spark.image) }}
{{- include "sparkbatch.variable" (list "SPARKBATCH_SPARK_IMAGE_PULL_POLICY" .Values.spark.imagePullPolicy) }}
{{- include "sparkbatch.variable" (list "SPARKBATCH_DRIVER_SERVICE_ACCOUNT" .Values.jobs.serviceAccount.name) }}
{{- include "sparkbatch.variable" (list "SPARKBATCH_SPARK_CONF" (join "\n" $conf)) }}
{{- include "sparkbatch.variable" (list "OTEL_EXPORTER_OTLP_ENDPOINT" .Values.tracesEndpoint) }}
{{- end }}

{{- define "sparkbatch.controllerEnv" -}}
# Where the Lease is, and who holds it: a container that comes back in its pod goes on at once.
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: POD_UID
  valueFrom: {fieldRef: {fieldPath: metadata.uid}}
- {name: SPARKBATCH_LEASE_IDENTITY, value: "$(POD_NAME)_$(POD_UID)"}
{{- $of := list }}
{{- range $namespace, $limit := .Values.controller.maxActiveBatchesOf }}
{{- $of = append $of (printf "%s=%d" $namespace (int64 $limit)) }}
{{- end }}
{{- with .Values.controller }}
{{- include "sparkbatch.number" (list "SPARKBATCH_MAX_ACTIVE_BATCHES" .maxActiveBatches) }}
{{- include "sparkbatch.variable" (list "SPARKBATCH_MAX_ACTIVE_BATCHES_OF" (join "," $of)) }}
{{- include "sparkbatch.variable" (list "SPARKBATCH_QUEUE_TIMEOUT" .queueTimeout) }}
{{- include "sparkbatch.variable" (list "SPARKBATCH_PENDING_TIMEOUT" .pendingTimeout) }}
{{- include "sparkbatch.variable" (list "SPARKBATCH_DRIVER_START_TIMEOUT" .driverStartTimeout) }}
{{- include "sparkbatch.variable" (list "SPARKBATCH_RUNNING_TIMEOUT" .runningTimeout) }}
{{- include "sparkbatch.variable" (list "SPARKBATCH_TTL_AFTER_FINISHED" .ttlAfterFinished) }}
{{- include "sparkbatch.variable" (list "SPARKBATCH_POD_RETENTION" .podRetention) }}
{{- include "sparkbatch.number" (list "SPARKBATCH_INFRASTRUCTURE_RETRIES" .infrastructureRetries) }}
{{- include "sparkbatch.number" (list "SPARKBATCH_CONCURRENCY" .concurrency) }}
{{- include "sparkbatch.number" (list "SPARKBATCH_SHARDS" .shards) }}
{{- end }}
{{- end }}

{{- define "sparkbatch.facadeEnv" -}}
- {name: SPARKBATCH_LISTEN, value: "0.0.0.0:8998"}
{{- $jobs := (include "sparkbatch.jobNamespaces" . | fromJson).items }}
{{- with .Values.facade }}
{{- include "sparkbatch.variable" (list "SPARKBATCH_AUTH" .auth) }}
{{- include "sparkbatch.variable" (list "SPARKBATCH_PROXY_USER" .proxyUser) }}
{{- include "sparkbatch.number" (list "SPARKBATCH_RATE_LIMIT" .rateLimit) }}
{{- include "sparkbatch.variable" (list "SPARKBATCH_DEFAULT_NAMESPACE" (.defaultNamespace | default (first $jobs).name)) }}
{{- include "sparkbatch.flag" (list "SPARKBATCH_INSTANCE_ID_FROM_NAMESPACE_NAME" .instanceIdFromNamespaceName) }}
{{- include "sparkbatch.flag" (list "SPARKBATCH_INSTANCE_EXTENSIONS" .instanceExtensions) }}
{{- include "sparkbatch.flag" (list "SPARKBATCH_LOG_MARKERS" .logMarkers) }}
{{- include "sparkbatch.flag" (list "SPARKBATCH_REQUIRE_REQUESTED_BY" .requireRequestedBy) }}
{{- include "sparkbatch.variable" (list "SPARKBATCH_SECRET_CONF_PATTERN" .secretConfPattern) }}
{{- include "sparkbatch.variable" (list "SPARKBATCH_EXTERNAL_URL" (include "sparkbatch.externalUrl" $)) }}
{{- include "sparkbatch.variable" (list "SPARKBATCH_HISTORY_URL_TEMPLATE" .historyUrlTemplate) }}
{{- if .tls.enabled }}
- {name: SPARKBATCH_TLS_CERT, value: /etc/sparkbatch/tls/tls.crt}
- {name: SPARKBATCH_TLS_KEY, value: /etc/sparkbatch/tls/tls.key}
{{- end }}
{{- end }}
{{- end }}
