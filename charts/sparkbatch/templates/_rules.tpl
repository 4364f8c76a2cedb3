{{- /* What each part may do in namespaces of jobs, and why. The one place to say it: deploy/kustomize is made from here. */}}
{{- define "sparkbatch.controllerRules" -}}
# It watches batches, and deletes those past their time to live.
- apiGroups: [sparkbatch.dev]
  resources: [sparkbatches]
  verbs: [get, list, watch, delete]
# It writes what it sees.
- apiGroups: [sparkbatch.dev]
  resources: [sparkbatches/status]
  verbs: [patch]
# To own pods where the API server enforces that only those may who could finalize the owner.
- apiGroups: [sparkbatch.dev]
  resources: [sparkbatches/finalizers]
  verbs: [update]
# Driver pods are created, watched and deleted; executors are watched, and deleted where a driver left them.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, create, delete, deletecollection]
# A driver's configuration is a Secret; confFrom reads Secrets of the batch's namespace.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, create, delete]
# The counter of batch ids is a ConfigMap; confFrom reads others.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, create]
- apiGroups: [""]
  resources: [configmaps]
  resourceNames: [sparkbatch-ids]
  verbs: [update]
# For batches with scheduling.volcanoQueue: Volcano places their pods by a PodGroup, which is there before the driver and
# goes after it. Of no use where Volcano is not installed.
- apiGroups: [scheduling.volcano.sh]
  resources: [podgroups]
  verbs: [get, create, delete]
# It tells of each step and each trouble.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end }}

{{- define "sparkbatch.facadeRules" -}}
# It answers from what it watches.
- apiGroups: [sparkbatch.dev]
  resources: [sparkbatches]
  verbs: [get, list, watch]
{{- if eq .Values.facade.auth "none" }}
# Without authentication, batches are created and deleted by this account; else with the callers' own rights.
- apiGroups: [sparkbatch.dev]
  resources: [sparkbatches]
  verbs: [create, delete]
{{- end }}
# For GET .../log.
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
# Credentials of requests go into Secrets. It reads none.
- apiGroups: [""]
  resources: [secrets]
  verbs: [create]
# The counter of batch ids is a ConfigMap. What is created cannot be told by its name.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [create]
- apiGroups: [""]
  resources: [configmaps]
  resourceNames: [sparkbatch-ids]
  verbs: [get, update]
{{- end }}

{{- define "sparkbatch.facadeClusterRules" -}}
{{- if eq .Values.facade.auth "kubernetes" }}
# Kubernetes says whose a caller's token is, and what its user may do.
- apiGroups: [authentication.k8s.io]
  resources: [tokenreviews]
  verbs: [create]
- apiGroups: [authorization.k8s.io]
  resources: [subjectaccessreviews]
  verbs: [create]
{{- end }}
# Instance ids are labels of namespaces, and what is none is answered with 404.
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get, list, watch]
  {{- with .Values.watchNamespaces }}
  # These alone are seen, by name.
  resourceNames: {{ toJson . }}
  {{- end }}
{{- end }}

{{- define "sparkbatch.driverRules" -}}
# The driver makes, watches and removes its executors.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, create, patch, delete, deletecollection]
# At its end it removes, by label, what else an application may have left.
- apiGroups: [""]
  resources: [configmaps, services, persistentvolumeclaims]
  verbs: [list, deletecollection]
{{- end }}

{{- /* A role and its binding. `namespace` is empty for a ClusterRole. `account` is in `accountNamespace`. `keep` leaves them
after an uninstall. */}}
{{- define "sparkbatch.grant" -}}
{{- $kind := ternary "Role" "ClusterRole" (ne .namespace "") -}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}
metadata:
  name: {{ .name }}
  {{- with .namespace }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "sparkbatch.labels" .root | nindent 4 }}
  {{- if .keep }}
  annotations:
    helm.sh/resource-policy: keep
  {{- end }}
rules:
  {{- .rules | trim | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}Binding
metadata:
  name: {{ .name }}
  {{- with .namespace }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "sparkbatch.labels" .root | nindent 4 }}
  {{- if .keep }}
  annotations:
    helm.sh/resource-policy: keep
  {{- end }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ $kind }}
  name: {{ .name }}
subjects:
  - kind: ServiceAccount
    name: {{ .account }}
    namespace: {{ .accountNamespace }}
{{- end }}
