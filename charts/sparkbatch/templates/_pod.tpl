{{- /* The template of a component's pods: (list . "controller"), "facade" or "combined" */}}
{{- define "sparkbatch.pod" -}}
{{- $root := first . }}
{{- $component := last . }}
{{- $pod := index $root.Values (include "sparkbatch.podValues" .) }}
{{- $serves := ne $component "controller" }}
{{- $controls := ne $component "facade" }}
{{- $tls := and $serves $root.Values.facade.tls.enabled -}}
metadata:
  labels:
    {{- include "sparkbatch.componentSelector" . | nindent 4 }}
    app.kubernetes.io/part-of: sparkbatch
    {{- with $root.Values.commonLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- with $pod.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $pod.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "sparkbatch.account" (list $root (ternary "facade" "controller" (eq $component "facade"))) }}
  {{- with $root.Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  enableServiceLinks: false
  {{- if $serves }}
  # What is slept below, and the 25 s that requests in flight are given.
  terminationGracePeriodSeconds: 40
  {{- end }}
  securityContext:
    {{- toYaml $root.Values.podSecurityContext | nindent 4 }}
  containers:
    - name: sparkbatch
      image: {{ include "sparkbatch.image" $root }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      args:
        - {{ get (dict "combined" "run" "controller" "controller" "facade" "facade") $component }}
        {{- with $pod.extraArgs }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      env:
        {{- include "sparkbatch.commonEnv" $root | nindent 8 }}
        {{- if $controls }}
        {{- include "sparkbatch.controllerEnv" $root | nindent 8 }}
        {{- end }}
        {{- if $serves }}
        {{- include "sparkbatch.facadeEnv" $root | nindent 8 }}
        {{- end }}
        {{- with $pod.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with $pod.extraEnvFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        {{- if $serves }}
        - {name: http, containerPort: 8998}
        {{- end }}
        - {name: admin, containerPort: 8080}
      {{- if $serves }}
      # Who ends takes no more connections, and every node goes on sending some until it has heard of it.
      lifecycle:
        preStop: {sleep: {seconds: 5}}
      {{- end }}
      livenessProbe:
        httpGet: {path: /livez, port: admin}
      readinessProbe:
        httpGet: {path: /readyz, port: admin}
        periodSeconds: 2
      resources:
        {{- toYaml $pod.resources | nindent 8 }}
      securityContext:
        {{- toYaml $root.Values.securityContext | nindent 8 }}
      {{- if or $tls $pod.extraVolumeMounts }}
      volumeMounts:
        {{- if $tls }}
        # As a folder: a file alone (subPath) would never change.
        - {name: tls, mountPath: /etc/sparkbatch/tls, readOnly: true}
        {{- end }}
        {{- with $pod.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- end }}
  {{- if or $tls $pod.extraVolumes }}
  volumes:
    {{- if $tls }}
    - name: tls
      secret:
        secretName: {{ include "sparkbatch.tlsSecret" $root }}
    {{- end }}
    {{- with $pod.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- end }}
  {{- with $pod.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $pod.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $pod.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $pod.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $pod.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- $own := dict "labelSelector" (dict "matchLabels" (include "sparkbatch.componentSelector" (list $root $component) | fromYaml)) }}
    {{- $constraints := list }}
    {{- range . }}
    {{- $constraints = append $constraints (hasKey . "labelSelector" | ternary . (merge (deepCopy .) $own)) }}
    {{- end }}
    {{- toYaml $constraints | nindent 4 }}
  {{- end }}
{{- end }}

{{- define "sparkbatch.componentSelector" -}}
{{ include "sparkbatch.selector" (first .) }}
app.kubernetes.io/component: {{ last . }}
{{- end }}
