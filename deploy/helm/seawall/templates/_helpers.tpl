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
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: seawall
{{ include "seawall.selector" . }}
{{- end -}}

{{- define "seawall.selector" -}}
app.kubernetes.io/name: {{ include "seawall.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "seawall.image" -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}

{{/* Values of Harbor's chart that are given and mean nothing here, with commas between them. */}}
{{- define "seawall.ignored" -}}
{{- $found := list -}}
{{- range $path := .Files.Lines "harbor-values.txt" -}}
{{- $node := $.Values -}}
{{- $there := not (empty $path) -}}
{{- range $name := splitList "." $path -}}
{{- if and $there (kindIs "map" $node) (hasKey $node $name) -}}
{{- $node = get $node $name -}}
{{- else -}}
{{- $there = false -}}
{{- end -}}
{{- end -}}
{{- if $there -}}
{{- $found = append $found $path -}}
{{- end -}}
{{- end -}}
{{- range $name := list "database" "redis" -}}
{{- $part := get $.Values $name -}}
{{- if and (eq $part.type "internal") (hasPrefix "goharbor/" $part.internal.image.repository) -}}
{{- $found = append $found (printf "%s.internal.image" $name) -}}
{{- end -}}
{{- end -}}
{{- join ", " $found -}}
{{- end -}}

{{/* Replicas of core: Harbor's three numbers are one here. */}}
{{- define "seawall.core.replicas" -}}
{{- max (int .Values.core.replicas) (int .Values.registry.replicas) (int .Values.portal.replicas) -}}
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

{{/* TLS ends in Seawall itself. */}}
{{- define "seawall.tls.inside" -}}
{{- if and .Values.expose.tls.enabled (ne .Values.expose.type "ingress") -}}true{{- end -}}
{{- end -}}

{{- define "seawall.tls.secret" -}}
{{- if eq .Values.expose.tls.certSource "secret" -}}
{{- .Values.expose.tls.secret.secretName -}}
{{- else -}}
{{- include "seawall.fullname" . }}-tls
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

{{/* A secret value that is given, or was made before, or is made now: (dict "root" $ "name" NAME "key" KEY "given" V "made" V) */}}
{{- define "seawall.kept" -}}
{{- if .given -}}
{{- .given | b64enc -}}
{{- else -}}
{{- $old := (lookup "v1" "Secret" .root.Release.Namespace .name) | default dict -}}
{{- index ($old.data | default dict) .key | default (.made | b64enc) -}}
{{- end -}}
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
postgresql://seawall@{{ include "seawall.fullname" . }}-database:5432/registry
{{- else if eq .Values.database.type "external" -}}
postgresql://{{ .Values.database.external.username | urlquery }}@{{ include "seawall.databaseHosts" . }}/{{ .Values.database.external.coreDatabase }}?sslmode={{ .Values.database.external.sslmode }}
{{- end -}}
{{- end -}}

{{- define "seawall.affinity" -}}
{{- $component := .component -}}
{{- with .values.affinity }}
{{- toYaml . }}
{{- else }}
{{- if ne .values.antiAffinity "none" }}
podAntiAffinity:
{{- if eq .values.antiAffinity "hard" }}
  requiredDuringSchedulingIgnoredDuringExecution:
    - topologyKey: kubernetes.io/hostname
      labelSelector:
        matchLabels:
          {{- include "seawall.selector" .root | nindent 10 }}
          app.kubernetes.io/component: {{ $component }}
{{- else }}
  preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 100
      podAffinityTerm:
        topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            {{- include "seawall.selector" .root | nindent 12 }}
            app.kubernetes.io/component: {{ $component }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "seawall.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
# Volumes with many blobs: do not walk them all at each start.
fsGroupChangePolicy: OnRootMismatch
{{- end -}}
