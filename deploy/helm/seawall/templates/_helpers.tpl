{{/*
Gives every value that is missing (an older release's, with `--reuse-values`) or null its default, and refuses what
cannot work. Each template that makes objects includes it first; it does its work once.
*/}}
{{- define "seawall.defaults" -}}
{{- if not (hasKey .Values "_ready") -}}
{{- $_ := set .Values "_ready" true -}}
{{- $values := .Values -}}
{{- range $line := .Files.Lines "defaults.tsv" -}}
{{- if $line -}}
{{- $pair := splitn "\t" 2 $line -}}
{{- $names := splitList "." $pair._0 -}}
{{- $node := $values -}}
{{- range initial $names -}}
{{- if not (kindIs "map" (index $node .)) -}}
{{- $_ := set $node . dict -}}
{{- end -}}
{{- $node = index $node . -}}
{{- end -}}
{{- if kindIs "invalid" (index $node (last $names)) -}}
{{- $_ := set $node (last $names) (mustFromJson $pair._1) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- include "seawall.checks" . -}}
{{- end -}}
{{- end -}}

{{- define "seawall.name" -}}
{{- default "seawall" .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "seawall.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "seawall.labels" -}}
{{- include "seawall.labelled" (dict "root" .) -}}
{{- end -}}

{{/*
Labels, each once: the chart's, `commonLabels`, the operator's own for the object, the last of which counts. What
selectors and Helm go by stays. (dict "root" $ "component" NAME "own" LABELS)
*/}}
{{- define "seawall.labelled" -}}
{{- $fixed := include "seawall.selector" .root | fromYaml -}}
{{- $_ := set $fixed "app.kubernetes.io/managed-by" .root.Release.Service -}}
{{- with .component -}}{{- $_ := set $fixed "app.kubernetes.io/component" . -}}{{- end -}}
{{- $chart := dict
      "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_")
      "app.kubernetes.io/version" .root.Chart.AppVersion
      "app.kubernetes.io/part-of" "seawall" -}}
{{- merge $fixed (.own | default dict) (.root.Values.commonLabels | default dict) $chart | toYaml -}}
{{- end -}}

{{/*
Name of a StatefulSet: its pods have a label of it and 11 characters more, and a label has at most 63.
(dict "root" $ "component" NAME)
*/}}
{{- define "seawall.stateful" -}}
{{- $name := include "seawall.fullname" .root -}}
{{- if gt (len $name) 42 -}}
{{- $name = printf "%s-%s" ($name | trunc 35 | trimSuffix "-") ($name | sha256sum | trunc 6) -}}
{{- end -}}
{{- printf "%s-%s" $name .component -}}
{{- end -}}

{{- define "seawall.selector" -}}
app.kubernetes.io/name: {{ include "seawall.name" . }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "seawall.image" -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}

{{/* Values of Harbor's chart that are given, say something and mean nothing here, with commas between them. */}}
{{- define "seawall.ignored" -}}
{{- $found := list -}}
{{- range $line := .Files.Lines "harbor-values.tsv" -}}
{{- $row := splitList "\t" $line -}}
{{- if and (eq (len $row) 3) (eq (index $row 1) "ignored") -}}
{{- $node := $.Values -}}
{{- $there := true -}}
{{- range $name := splitList "." (first $row) -}}
{{- if and $there (kindIs "map" $node) (hasKey $node $name) -}}
{{- $node = index $node $name -}}
{{- else -}}
{{- $there = false -}}
{{- end -}}
{{- end -}}
{{- if and $there (not (empty $node)) -}}
{{- $found = append $found (first $row) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $name := list "database" "redis" -}}
{{- $part := get $.Values $name -}}
{{- if and (eq $part.type "internal") (contains "goharbor/" $part.internal.image.repository) -}}
{{- $found = append $found (printf "%s.internal.image" $name) -}}
{{- end -}}
{{- end -}}
{{- join ", " (sortAlpha $found) -}}
{{- end -}}

{{/* Replicas of core: Harbor's three numbers are one here. */}}
{{- define "seawall.core.replicas" -}}
{{- max (int .Values.core.replicas) (int .Values.registry.replicas) (int .Values.portal.replicas) -}}
{{- end -}}

{{/*
Replicas of a Deployment. Beside an autoscaler it is what runs now, for a number of its own would undo the
autoscaler's work, and none at all would be one pod until the autoscaler acts.
(dict "root" $ "component" NAME "replicas" NUMBER)
*/}}
{{- define "seawall.replicas" -}}
{{- $scale := (get .root.Values .component).autoscaling -}}
{{- if not $scale.enabled -}}
replicas: {{ .replicas }}
{{- else if not .root.Values.gitops -}}
{{- $name := printf "%s-%s" (include "seawall.fullname" .root) .component -}}
{{- $now := ((lookup "apps/v1" "Deployment" .root.Release.Namespace $name).spec | default dict).replicas -}}
replicas: {{ min (max (int ($now | default .replicas)) (int $scale.minReplicas)) (int $scale.maxReplicas) }}
{{- end -}}
{{- end -}}

{{/* The largest number of core pods that may come to run at once. */}}
{{- define "seawall.core.most" -}}
{{- if .Values.core.autoscaling.enabled -}}
{{- int .Values.core.autoscaling.maxReplicas -}}
{{- else -}}
{{- include "seawall.core.replicas" . -}}
{{- end -}}
{{- end -}}

{{- define "seawall.jobservice.most" -}}
{{- if eq .Values.database.type "embedded" -}}0
{{- else if .Values.jobservice.autoscaling.enabled -}}
{{- int .Values.jobservice.autoscaling.maxReplicas -}}
{{- else -}}
{{- int .Values.jobservice.replicas -}}
{{- end -}}
{{- end -}}

{{/* TLS that clients see ends in Seawall itself. */}}
{{- define "seawall.tls.outer" -}}
{{- if and .Values.expose.tls.enabled (not (has .Values.expose.type (list "ingress" "route"))) -}}true{{- end -}}
{{- end -}}

{{/* Core speaks TLS: to clients, or (internalTLS) to the ingress controller. */}}
{{- define "seawall.tls.inside" -}}
{{- if or (include "seawall.tls.outer" .) .Values.internalTLS.enabled -}}true{{- end -}}
{{- end -}}

{{/* The secret of the certificate that clients see. */}}
{{- define "seawall.tls.secret" -}}
{{- if eq .Values.expose.tls.certSource "secret" -}}
{{- .Values.expose.tls.secret.secretName -}}
{{- else -}}
{{- include "seawall.fullname" . }}-tls
{{- end -}}
{{- end -}}

{{/* The secret of the certificate that core has. */}}
{{- define "seawall.tls.core" -}}
{{- if include "seawall.tls.outer" . -}}
{{- include "seawall.tls.secret" . -}}
{{- else if eq .Values.internalTLS.certSource "secret" -}}
{{- .Values.internalTLS.core.secretName -}}
{{- else -}}
{{- include "seawall.fullname" . }}-internal-tls
{{- end -}}
{{- end -}}

{{- define "seawall.scheme" -}}
{{- if include "seawall.tls.inside" . -}}HTTPS{{- else -}}HTTP{{- end -}}
{{- end -}}

{{- define "seawall.service" -}}
{{- if eq .Values.expose.type "clusterIP" -}}{{ .Values.expose.clusterIP.name }}
{{- else if eq .Values.expose.type "nodePort" -}}{{ .Values.expose.nodePort.name }}
{{- else if eq .Values.expose.type "loadBalancer" -}}{{ .Values.expose.loadBalancer.name }}
{{- else -}}{{ include "seawall.fullname" . }}
{{- end -}}
{{- end -}}

{{- define "seawall.claim" -}}
{{- with .Values.persistence.persistentVolumeClaim.registry.existingClaim -}}{{ . }}
{{- else -}}{{ include "seawall.fullname" $ }}-registry
{{- end -}}
{{- end -}}

{{/* Whether core keeps something in a volume: blobs, or the embedded database. */}}
{{- define "seawall.volume" -}}
{{- if or (eq .Values.persistence.imageChartStorage.type "filesystem") (eq .Values.database.type "embedded") -}}true{{- end -}}
{{- end -}}

{{- define "seawall.databaseHosts" -}}
{{- $port := toString .Values.database.external.port -}}
{{- $hosts := list -}}
{{- range splitList "," .Values.database.external.host -}}
{{- $host := trim . -}}
{{- $hosts = append $hosts (ternary $host (printf "%s:%s" $host $port) (regexMatch ":[0-9]+$" $host)) -}}
{{- end -}}
{{- join "," $hosts -}}
{{- end -}}

{{/* The password comes by PGPASSWORD, so it needs no escaping and is in no config map. */}}
{{- define "seawall.databaseURL" -}}
{{- if eq .Values.database.type "internal" -}}
postgresql://seawall@{{ include "seawall.stateful" (dict "root" . "component" "database") }}:5432/registry
{{- else if eq .Values.database.type "external" -}}
{{/* libpq reads a plus sign as it stands. */}}
{{- $user := .Values.database.external.username | urlquery | replace "+" "%20" -}}
{{- $base := .Values.database.external.coreDatabase | urlquery | replace "+" "%20" -}}
postgresql://{{ $user }}@{{ include "seawall.databaseHosts" . }}/{{ $base }}?sslmode={{ .Values.database.external.sslmode }}
{{- end -}}
{{- end -}}

{{/*
Spread over hosts and zones. Pods of one revision are counted (matchLabelKeys): those of the last one, which an upgrade
is about to end, neither keep new pods away nor make two of them share a host. A host that takes no pods
(nodeTaintsPolicy) is not one that lacks some. (dict "root" $ "values" .Values.core "component" "core")
*/}}
{{- define "seawall.spread" -}}
{{- $selector := include "seawall.selector" .root | fromYaml | merge (dict "app.kubernetes.io/component" .component) -}}
{{- $all := list -}}
{{- $keys := list -}}
{{- range .values.topologySpreadConstraints -}}
{{- $keys = append $keys .topologyKey -}}
{{- $all = append $all (deepCopy .) -}}
{{- end -}}
{{- if and (ne .values.antiAffinity "none") (not (has "kubernetes.io/hostname" $keys)) -}}
{{- $how := ternary "DoNotSchedule" "ScheduleAnyway" (eq .values.antiAffinity "hard") -}}
{{- $all = append $all (dict "maxSkew" 1 "topologyKey" "kubernetes.io/hostname" "whenUnsatisfiable" $how) -}}
{{- end -}}
{{- if not (has "topology.kubernetes.io/zone" $keys) -}}
{{- $all = append $all (dict "maxSkew" 1 "topologyKey" "topology.kubernetes.io/zone" "whenUnsatisfiable" "ScheduleAnyway") -}}
{{- end -}}
{{- $new := include "seawall.counts.revisions" .root -}}
{{- range $all -}}
{{- if not .labelSelector -}}
{{- $_ := set . "labelSelector" (dict "matchLabels" $selector) -}}
{{- if and $new (not (hasKey . "matchLabelKeys")) -}}
{{- $_ := set . "matchLabelKeys" (list "pod-template-hash") -}}
{{- end -}}
{{- end -}}
{{- if and $new (not (hasKey . "nodeTaintsPolicy")) -}}
{{- $_ := set . "nodeTaintsPolicy" "Honor" -}}
{{- end -}}
{{- end -}}
{{- toYaml $all -}}
{{- end -}}

{{/* matchLabelKeys and nodeTaintsPolicy are there without a feature gate. */}}
{{- define "seawall.counts.revisions" -}}
{{- if semverCompare ">=1.27.0-0" .Capabilities.KubeVersion.Version -}}true{{- end -}}
{{- end -}}

{{/* Pods use a volume of one node, where an old and a new one could not both have it. */}}
{{- define "seawall.one.node" -}}
{{- if and (include "seawall.volume" .) (ne .Values.persistence.persistentVolumeClaim.registry.accessMode "ReadWriteMany") -}}true{{- end -}}
{{- end -}}

{{/* How a Deployment is updated: (dict "root" $ "values" .Values.core) */}}
{{- define "seawall.strategy" -}}
{{- if .values.updateStrategy -}}
{{- toYaml .values.updateStrategy -}}
{{- else if or (include "seawall.one.node" .root) (eq .root.Values.updateStrategy.type "Recreate") -}}
type: Recreate
{{- else if and (eq .values.antiAffinity "hard") (not (include "seawall.counts.revisions" .root)) -}}
# Before Kubernetes 1.27 old pods count too, and a new one may find no place beside them.
type: RollingUpdate
rollingUpdate:
  maxUnavailable: 1
  maxSurge: 0
{{- else -}}
type: RollingUpdate
rollingUpdate:
  maxUnavailable: 0
  maxSurge: 1
{{- end -}}
{{- end -}}

{{/* A component's service account: an existing one, or the one that the chart makes. */}}
{{- define "seawall.account" -}}
{{- if .values.serviceAccountName -}}
{{- .values.serviceAccountName -}}
{{- else if (.values.serviceAccount | default dict).create -}}
{{- include "seawall.fullname" .root }}-{{ .component }}
{{- end -}}
{{- end -}}

{{/* ipFamilyPolicy and ipFamilies of a Service. */}}
{{- define "seawall.families" -}}
{{- with .Values.ipFamily.policy }}
ipFamilyPolicy: {{ . }}
{{- end }}
{{- with .Values.ipFamily.families }}
ipFamilies:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Pods listen on IPv6 too (and on IPv4, as Linux does it). */}}
{{- define "seawall.ipv6" -}}
{{- $f := .Values.ipFamily -}}
{{- if and $f.ipv6.enabled (or (has "IPv6" $f.families) (contains "DualStack" $f.policy) (not $f.ipv4.enabled)) -}}true{{- end -}}
{{- end -}}

{{/* A probe: times of the values, and a request where they bring no test of their own. */}}
{{- define "seawall.probe" -}}
{{- $probe := omit .probe "enabled" -}}
{{- if not (or $probe.httpGet $probe.exec $probe.tcpSocket $probe.grpc) -}}
{{- $probe = merge (dict "httpGet" (dict "path" .path "port" .port "scheme" .scheme)) $probe -}}
{{- end -}}
{{- toYaml $probe -}}
{{- end -}}

{{/* The storage driver and the settings of S3, which OSS speaks too. */}}
{{- define "seawall.s3" -}}
{{- $s := .Values.persistence.imageChartStorage -}}
{{- if eq $s.type "oss" -}}
{{- $oss := $s.oss -}}
{{/* Harbor's driver writes oss-cn-hangzhou, Alibaba cn-hangzhou. */}}
{{- $region := printf "oss-%s" (trimPrefix "oss-" $oss.region) -}}
{{- $usual := printf "s3.%s%s.aliyuncs.com" $region (ternary "-internal" "" $oss.internal) -}}
{{- $s3 := dict "existingSecret" $oss.existingSecret "region" $region "bucket" $oss.bucket "accesskey" $oss.accesskeyid "secretkey" $oss.accesskeysecret "regionendpoint" (trimPrefix (printf "%s." $oss.bucket) $oss.endpoint | default $usual) "rootdirectory" $oss.rootdirectory "forcepathstyle" false "secure" $oss.secure "encrypt" $oss.encrypt -}}
{{- toYaml $s3 -}}
{{- else -}}
{{- toYaml $s.s3 -}}
{{- end -}}
{{- end -}}

{{- define "seawall.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
# Volumes with many blobs: do not walk them all at each start.
fsGroupChangePolicy: OnRootMismatch
{{- end -}}
