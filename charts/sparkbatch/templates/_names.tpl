{{- define "sparkbatch.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- /* Short enough for the longest name that begins with it to be the name of a Service. */}}
{{- define "sparkbatch.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- /* Cluster-wide names hold the namespace where it is not the usual one, so that two releases can be installed. */}}
{{- define "sparkbatch.clusterName" -}}
{{- $fullname := include "sparkbatch.fullname" . }}
{{- ternary $fullname (printf "%s-%s" .Release.Namespace $fullname) (eq .Release.Namespace "sparkbatch-system") }}
{{- end }}

{{- /* The components whose pods run: of separate, controller and perhaps facade; of combined, one for both. */}}
{{- define "sparkbatch.components" -}}
{{- if not .Values.facade.enabled }}controller{{ else if eq .Values.mode "combined" }}combined{{ else }}controller,facade{{ end }}
{{- end }}

{{- /* The component whose pods serve the REST API. */}}
{{- define "sparkbatch.serving" -}}
{{- ternary "combined" "facade" (eq .Values.mode "combined") }}
{{- end }}

{{- /* The name of a component's Deployment: (list . "controller") */}}
{{- define "sparkbatch.componentName" -}}
{{- $fullname := include "sparkbatch.fullname" (first .) }}
{{- ternary $fullname (printf "%s-%s" $fullname (last .)) (eq (last .) "combined") }}
{{- end }}

{{- /* The values of a component's pods: (list . "facade") */}}
{{- define "sparkbatch.podValues" -}}
{{- ternary "facade" "controller" (eq (last .) "facade") }}
{{- end }}

{{- /* The name of a part's service account: (list . "facade") */}}
{{- define "sparkbatch.account" -}}
{{- $values := (first .).Values }}
{{- $owner := ternary "controller" (last .) (eq $values.mode "combined") }}
{{- $component := ternary "combined" (last .) (and (eq $values.mode "combined") $values.facade.enabled) }}
{{- $account := (index $values $owner).serviceAccount }}
{{- $account.name | default (ternary (include "sparkbatch.componentName" (list (first .) $component)) "default" $account.create) }}
{{- end }}

{{- define "sparkbatch.selector" -}}
app.kubernetes.io/name: {{ include "sparkbatch.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "sparkbatch.labels" -}}
{{ include "sparkbatch.selector" . }}
app.kubernetes.io/part-of: sparkbatch
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "sparkbatch.image" -}}
{{- with .Values.image }}
{{- $name := ternary (printf "%s/%s" .registry .repository) .repository (ne .registry "") }}
{{- if .digest }}{{ $name }}@{{ .digest }}{{ else }}{{ $name }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{- /* Namespaces of jobs, as a JSON list in `items`. */}}
{{- define "sparkbatch.jobNamespaces" -}}
{{- $items := .Values.jobs.namespaces }}
{{- if not $items }}
{{- range .Values.watchNamespaces }}
{{- $items = append $items (dict "name" .) }}
{{- end }}
{{- end }}
{{- dict "items" ($items | default (list (dict "name" "spark-jobs" "create" true))) | toJson }}
{{- end }}

{{- define "sparkbatch.scheme" -}}
{{- ternary "https" "http" .Values.facade.tls.enabled }}
{{- end }}

{{- /* The Secret of the REST API's certificate. */}}
{{- define "sparkbatch.tlsSecret" -}}
{{- .Values.facade.tls.secretName | default (printf "%s-tls" (include "sparkbatch.fullname" .)) }}
{{- end }}

{{- define "sparkbatch.serviceHost" -}}
{{ include "sparkbatch.fullname" . }}.{{ .Release.Namespace }}.svc
{{- end }}

{{- define "sparkbatch.externalUrl" -}}
{{- with .Values.facade }}
{{- if .externalUrl }}{{ .externalUrl }}
{{- else if .ingress.enabled }}{{ ternary "https" "http" (not (empty .ingress.tls)) }}://{{ first .ingress.hosts }}{{ trimSuffix "/" .ingress.path }}
{{- else if and .httpRoute.enabled .httpRoute.hostnames }}https://{{ first .httpRoute.hostnames }}
{{- else }}{{ include "sparkbatch.scheme" $ }}://{{ include "sparkbatch.serviceHost" $ }}:{{ .service.port }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Replicas of a component's pods, by their values. */}}
{{- define "sparkbatch.replicas" -}}
{{- kindIs "invalid" .replicas | ternary 2 .replicas | int64 }}
{{- end }}
