{{- /* What contradicts itself, all of it at once, and what to change. */}}
{{- define "sparkbatch.checks" -}}
{{- $values := .Values }}
{{- $facade := $values.facade }}
{{- $combined := eq $values.mode "combined" }}
{{- $said := list }}

{{- if not $values.image.repository }}
{{- $said = append $said "image.repository: name the operator's image; deploy/images builds it" }}
{{- end }}

{{- /* Parts. */}}
{{- if and $combined (not $facade.enabled) }}
{{- $said = append $said "mode: combined puts the REST API into the controller's pods, and facade.enabled is false: set mode to separate" }}
{{- end }}
{{- if not $facade.enabled }}
{{- range $what := list "ingress" "httpRoute" "tls" "autoscaling" }}
{{- if (index $facade $what).enabled }}
{{- $said = append $said (printf "facade.%s.enabled: there is no REST API, as facade.enabled is false; set one of them to the other" $what) }}
{{- end }}
{{- end }}
{{- end }}
{{- if and $combined $facade.enabled }}
{{- if $facade.autoscaling.enabled }}
{{- $said = append $said "facade.autoscaling: replicas of the controller do not share its work; set mode to separate" }}
{{- end }}
{{- range $what := list "podLabels" "podAnnotations" "nodeSelector" "tolerations" "affinity" "priorityClassName" "extraArgs" "extraEnv" "extraEnvFrom" "extraVolumes" "extraVolumeMounts" }}
{{- if index $facade $what }}
{{- $said = append $said (printf "facade.%s: there are no pods of its own in mode combined; set controller.%s" $what $what) }}
{{- end }}
{{- end }}
{{- if not (kindIs "invalid" $facade.replicas) }}
{{- $said = append $said "facade.replicas: there are no pods of its own in mode combined; set controller.replicas" }}
{{- end }}
{{- /* What is not empty by default is compared with values.yaml's words, which templates cannot read: where these change,
mode combined is refused until they do here. */}}
{{- $defaults := dict
      "resources" (dict "requests" (dict "cpu" "50m" "memory" "64Mi") "limits" (dict "memory" "512Mi"))
      "serviceAccount" (dict "create" true "name" "" "annotations" dict)
      "podDisruptionBudget" (dict "enabled" true "maxUnavailable" 1)
      "topologySpreadConstraints" (list (dict "maxSkew" 1 "topologyKey" "kubernetes.io/hostname" "whenUnsatisfiable" "ScheduleAnyway"))
}}
{{- range $what, $default := $defaults }}
{{- if ne (index $facade $what | toJson | replace ",\"minAvailable\":null" "") (toJson $default) }}
{{- $of := ternary "has no account" "has no pods" (eq $what "serviceAccount") }}
{{- $said = append $said (printf "facade.%s: the REST API %s of its own in mode combined; set controller.%s, and leave this as it is by default" $what $of $what) }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Accounts and rights. */}}
{{- range $part := ternary (list "controller") (list "controller" "facade") $combined }}
{{- $account := (index $values $part).serviceAccount }}
{{- if and (not $account.create) (not $account.name) }}
{{- $said = append $said (printf "%s.serviceAccount: without create, set name to the account that is there" $part) }}
{{- end }}
{{- end }}
{{- if and $facade.enabled (not $combined) (eq (include "sparkbatch.account" (list . "controller")) (include "sparkbatch.account" (list . "facade"))) }}
{{- $said = append $said "facade.serviceAccount.name: is the controller's, whose rights the REST API would have; name another, or set mode to combined" }}
{{- end }}
{{- if and $values.rbac.create (not $values.rbac.clusterRoles) }}
{{- if not $values.watchNamespaces }}
{{- $said = append $said "rbac.clusterRoles: false needs watchNamespaces: name the namespaces that the operator serves" }}
{{- end }}
{{- if $facade.enabled }}
{{- $needs := ternary "create TokenReviews and SubjectAccessReviews, and see Namespace objects" "see Namespace objects" (eq $facade.auth "kubernetes") }}
{{- $said = append $said (printf "rbac.clusterRoles: false, but the REST API has to %s, which no Role can allow; set facade.enabled to false (people use kubectl and the sparkbatch command line), or rbac.clusterRoles to true" $needs) }}
{{- end }}
{{- end }}

{{- /* Namespaces. */}}
{{- $names := list }}
{{- range (include "sparkbatch.jobNamespaces" . | fromJson).items }}
{{- if has .name $names }}
{{- $said = append $said (printf "jobs.namespaces: %s is there twice" .name) }}
{{- end }}
{{- $names = append $names .name }}
{{- if and $values.watchNamespaces (not (has .name $values.watchNamespaces)) }}
{{- $said = append $said (printf "jobs.namespaces: %s is not in watchNamespaces, so that no batch would run in it; add it there, or take it away here" .name) }}
{{- end }}
{{- if and .instanceId (not .create) }}
{{- $said = append $said (printf "jobs.namespaces: the instanceId of %s is a label of the namespace, which is not made here; set create, or: kubectl label namespace %s sparkbatch.dev/instance-id=%s" .name .name .instanceId) }}
{{- end }}
{{- end }}
{{- if and $facade.defaultNamespace $values.watchNamespaces (not (has $facade.defaultNamespace $values.watchNamespaces)) }}
{{- $said = append $said (printf "facade.defaultNamespace: %s is not in watchNamespaces" $facade.defaultNamespace) }}
{{- end }}
{{- range $key, $value := $values.spark.conf }}
{{- if contains "\n" (toString $value) }}
{{- $said = append $said (printf "spark.conf: the value of %s has several lines, which a default cannot have; set it in the batches" $key) }}
{{- end }}
{{- end }}

{{- /* TLS. */}}
{{- with $facade.tls }}
{{- if and .enabled (not .secretName) (not .certManager.enabled) }}
{{- $said = append $said "facade.tls.enabled: needs a certificate: set secretName to a Secret of type kubernetes.io/tls, or certManager.enabled" }}
{{- end }}
{{- if and (not .enabled) (or .secretName .certManager.enabled) }}
{{- $said = append $said "facade.tls: a certificate is named, but enabled is false; set it to true" }}
{{- end }}
{{- if and .certManager.enabled (not .certManager.issuerRef.name) }}
{{- $said = append $said "facade.tls.certManager.issuerRef: name the issuer, as in {kind: ClusterIssuer, name: internal}" }}
{{- end }}
{{- end }}

{{- /* Ways in. */}}
{{- if and $facade.ingress.enabled (not $facade.ingress.hosts) }}
{{- $said = append $said "facade.ingress.hosts: name a host, or the Ingress would take every host's requests" }}
{{- end }}
{{- if and $facade.httpRoute.enabled (not $facade.httpRoute.parentRefs) }}
{{- $said = append $said "facade.httpRoute.parentRefs: name a Gateway, as in [{name: public, namespace: gateways}]" }}
{{- end }}
{{- if and $facade.service.nodePort (eq $facade.service.type "ClusterIP") }}
{{- $said = append $said "facade.service.nodePort: a Service of type ClusterIP has none; set type to NodePort" }}
{{- end }}
{{- if and $facade.service.loadBalancerSourceRanges (ne $facade.service.type "LoadBalancer") }}
{{- $said = append $said "facade.service.loadBalancerSourceRanges: are for type LoadBalancer alone; they would protect nothing" }}
{{- end }}

{{- /* How many. */}}
{{- with $facade.autoscaling }}
{{- if .enabled }}
{{- if not (kindIs "invalid" $facade.replicas) }}
{{- $said = append $said "facade.replicas: is chosen by facade.autoscaling; set it to null" }}
{{- end }}
{{- if gt (int .minReplicas) (int .maxReplicas) }}
{{- $said = append $said "facade.autoscaling: minReplicas is more than maxReplicas" }}
{{- end }}
{{- if not (dig "requests" "cpu" "" $facade.resources) }}
{{- $said = append $said "facade.autoscaling: counts CPU in percent of facade.resources.requests.cpu, which is not set" }}
{{- end }}
{{- end }}
{{- end }}
{{- if not (and $combined (not $facade.enabled)) }}
{{- range $component := splitList "," (include "sparkbatch.components" .) }}
{{- $part := include "sparkbatch.podValues" (list $ $component) }}
{{- $pod := index $values $part }}
{{- $replicas := int (include "sparkbatch.replicas" $pod) }}
{{- if and (eq $component "facade") $facade.autoscaling.enabled }}{{ $replicas = int $facade.autoscaling.minReplicas }}{{ end }}
{{- with $pod.podDisruptionBudget }}
{{- $least := toString .minAvailable }}
{{- /* As Kubernetes counts percents of pods: upwards. */}}
{{- $kept := hasSuffix "%" $least | ternary (divf (mulf (trimSuffix "%" $least | int) $replicas) 100 | ceil | int) (int .minAvailable) }}
{{- if not .enabled }}
{{- else if eq $replicas 0 }}
{{- $said = append $said (printf "%s.podDisruptionBudget: there is no pod to keep, as %s.replicas is 0; set enabled to false" $part $part) }}
{{- else if kindIs "invalid" .minAvailable }}
{{- if regexMatch "^0+%?$" (toString .maxUnavailable) }}
{{- $said = append $said (printf "%s.podDisruptionBudget.maxUnavailable: %v would keep every node from being drained; set it to 1, or enabled to false" $part .maxUnavailable) }}
{{- end }}
{{- else if ge $kept $replicas }}
{{- $said = append $said (printf "%s.podDisruptionBudget.minAvailable: %v of %d pods would keep every node from being drained; set it lower, or more replicas" $part .minAvailable $replicas) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- if and $values.monitoring.serviceMonitor.enabled $values.monitoring.podMonitor.enabled }}
{{- $said = append $said "monitoring: serviceMonitor and podMonitor would count everything twice; enable one" }}
{{- end }}

{{- $said = concat $said (include "sparkbatch.clusterChecks" . | fromJsonArray) }}
{{- if $said }}
{{- fail (printf "\n\n%s\n" (join "\n" $said)) }}
{{- end }}
{{- end }}

{{- /* What the cluster has that is in the way, or has not and should, as a JSON list. Without a cluster, lookup finds nothing. */}}
{{- define "sparkbatch.clusterChecks" -}}
{{- $said := list }}
{{- if .Values.crds.enabled }}
{{- $definition := "sparkbatches.sparkbatch.dev" }}
{{- with lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" $definition }}
{{- $known := list "v1alpha1" }}
{{- range .status.storedVersions }}
{{- if not (has . $known) }}
{{- $said = append $said (printf "crds: the cluster's %s stores batches as %s, which this chart does not know: take the chart that installed it, or a later one" $definition .) }}
{{- end }}
{{- end }}
{{- $owner := dig "metadata" "annotations" "meta.helm.sh/release-name" "" . }}
{{- $namespace := dig "metadata" "annotations" "meta.helm.sh/release-namespace" "" . }}
{{- if and $owner (or (ne $owner $.Release.Name) (ne $namespace $.Release.Namespace)) }}
{{- $said = append $said (printf "crds: %s belongs to the release %s in %s: set crds.enabled to false" $definition $owner $namespace) }}
{{- else if not $owner }}
{{- $said = append $said (printf "crds: %s is there and no release's: set crds.enabled to false to leave it as it is, or give it to this release: kubectl label crd %s app.kubernetes.io/managed-by=Helm && kubectl annotate crd %s meta.helm.sh/release-name=%s meta.helm.sh/release-namespace=%s" $definition $definition $definition $.Release.Name $.Release.Namespace) }}
{{- end }}
{{- end }}
{{- /* Everybody may ask which kinds are served, as not everybody may see the definition. That there is a Namespace says that
these are a cluster's answers, and not Helm's own list. */}}
{{- else if and (.Capabilities.APIVersions.Has "v1/Namespace") (not (.Capabilities.APIVersions.Has "sparkbatch.dev/v1alpha1/SparkBatch")) }}
{{- $said = append $said "crds.enabled: is false, and the cluster does not serve sparkbatch.dev/v1alpha1: have its administrator run kubectl apply --server-side -f crds/sparkbatches.yaml, of this version of the project, or set it to true" }}
{{- end }}
{{- /* Whoever installs for the whole cluster may see namespaces; others are told by the API server. */}}
{{- if and (not .Values.watchNamespaces) (lookup "v1" "Namespace" "" "kube-system") }}
{{- with .Values.facade.tls }}
{{- $isNamed := and .enabled .secretName (not .certManager.enabled) }}
{{- /* Further objects may be what makes it. */}}
{{- if and $isNamed (not (contains .secretName (toJson $.Values.extraObjects))) (not (lookup "v1" "Secret" $.Release.Namespace .secretName)) }}
{{- $said = append $said (printf "facade.tls.secretName: there is no Secret %s in %s: kubectl create secret tls %s --namespace %s --cert tls.crt --key tls.key" .secretName $.Release.Namespace .secretName $.Release.Namespace) }}
{{- end }}
{{- end }}
{{- range (include "sparkbatch.jobNamespaces" . | fromJson).items }}
{{- if not (or .create (lookup "v1" "Namespace" "" .name)) }}
{{- $said = append $said (printf "jobs.namespaces: there is no namespace %s; make it, or set create" .name) }}
{{- end }}
{{- end }}
{{- end }}
{{- toJson $said }}
{{- end }}
