{{/* Storage, Redis and jobs in Seawall's settings. */}}
{{- define "seawall.config.storage" -}}
{{- $s := .Values.persistence.imageChartStorage -}}
driver: {{ ternary "s3" $s.type (eq $s.type "oss") }}
{{- if eq $s.type "filesystem" }}
root: {{ $s.filesystem.rootdirectory }}
{{- else }}
redirect: {{ not $s.disableredirect }}
{{- end }}
{{- if has $s.type (list "s3" "oss") }}
{{- $s3 := include "seawall.s3" . | fromYaml }}
s3:
  bucket: {{ $s3.bucket | quote }}
  region: {{ $s3.region | quote }}
  forcepathstyle: {{ $s3.forcepathstyle }}
  {{- with $s3.regionendpoint }}
  regionendpoint: {{ ternary . (printf "%s://%s" (ternary "https" "http" $s3.secure) .) (contains "://" .) | quote }}
  {{- end }}
  {{- with $s3.rootdirectory }}
  rootdirectory: {{ . | quote }}
  {{- end }}
  {{- if $s3.encrypt }}
  encrypt: true
  {{- end }}
  {{- with $s3.keyid }}
  keyid: {{ . | quote }}
  {{- end }}
  {{- with $s3.storageclass }}
  storageclass: {{ . | quote }}
  {{- end }}
  {{- with $s3.chunksize }}
  chunksize: {{ int64 . }}
  {{- end }}
  {{- if $s3.skipverify }}
  skipverify: true
  {{- end }}
  {{- if include "seawall.authority.s3" . }}
  cacert: /etc/seawall/storage-ca/ca.crt
  {{- end }}
{{- else if eq $s.type "gcs" }}
gcs:
  bucket: {{ $s.gcs.bucket | quote }}
  {{- with $s.gcs.rootdirectory }}
  rootdirectory: {{ . | quote }}
  {{- end }}
  {{- with $s.gcs.chunksize }}
  chunksize: {{ int64 . }}
  {{- end }}
  {{- if not $s.gcs.useWorkloadIdentity }}
  keyfile: /etc/seawall/gcs/gcs-key.json
  {{- end }}
{{- else if eq $s.type "azure" }}
azure:
  container: {{ $s.azure.container | quote }}
  accountname: {{ $s.azure.accountname | quote }}
  {{- with $s.azure.realm }}
  endpoint: https://{{ $s.azure.accountname }}.blob.{{ . }}
  {{- end }}
  {{- with $s.azure.rootdirectory }}
  rootdirectory: {{ . | quote }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "seawall.config.redis" -}}
{{- $r := .Values.redis -}}
{{- if eq $r.type "internal" -}}
url: redis://{{ include "seawall.stateful" (dict "root" . "component" "redis") }}:6379/{{ $r.internal.coreDatabaseIndex }}
{{- else -}}
{{- if $r.external.sentinelMasterSet -}}
sentinel: {{ $r.external.addr | nospace | quote }}
sentinel_master: {{ $r.external.sentinelMasterSet | quote }}
db: {{ int $r.external.coreDatabaseIndex }}
{{- else -}}
url: {{ ternary "rediss" "redis" $r.external.tlsOptions.enable }}://{{ $r.external.addr | trim }}/{{ $r.external.coreDatabaseIndex }}
{{- end }}
tls: {{ $r.external.tlsOptions.enable }}
{{- end -}}
{{- end -}}

{{- define "seawall.env.redis" -}}
{{- $r := .Values.redis -}}
{{- $name := include "seawall.fullname" . -}}
{{- if eq $r.type "external" }}
{{- if $r.external.existingSecret }}
- name: SEAWALL_REDIS__PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ $r.external.existingSecret }}
      key: REDIS_PASSWORD
- name: SEAWALL_REDIS__USERNAME
{{- if $r.external.username }}
  value: {{ $r.external.username | quote }}
{{- else }}
  valueFrom:
    secretKeyRef:
      name: {{ $r.external.existingSecret }}
      key: REDIS_USERNAME
      optional: true
{{- end }}
{{- else if $r.external.password }}
- name: SEAWALL_REDIS__PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ $name }}
      key: REDIS_PASSWORD
{{- if $r.external.username }}
- name: SEAWALL_REDIS__USERNAME
  valueFrom:
    secretKeyRef:
      name: {{ $name }}
      key: REDIS_USERNAME
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "seawall.env.storage" -}}
{{- $s := .Values.persistence.imageChartStorage -}}
{{- $name := include "seawall.fullname" . -}}
{{- if and (eq $s.type "oss") (or $s.oss.existingSecret $s.oss.accesskeyid) }}
- name: SEAWALL_STORAGE__S3__ACCESSKEY
  valueFrom:
    secretKeyRef:
      name: {{ $name }}
      key: REGISTRY_STORAGE_S3_ACCESSKEY
- name: SEAWALL_STORAGE__S3__SECRETKEY
  valueFrom:
    secretKeyRef:
      name: {{ $s.oss.existingSecret | default $name }}
      key: {{ ternary "REGISTRY_STORAGE_OSS_ACCESSKEYSECRET" "REGISTRY_STORAGE_S3_SECRETKEY" (not (empty $s.oss.existingSecret)) }}
{{- else if and (eq $s.type "s3") (or $s.s3.existingSecret $s.s3.accesskey) }}
- name: SEAWALL_STORAGE__S3__ACCESSKEY
  valueFrom:
    secretKeyRef:
      name: {{ $s.s3.existingSecret | default $name }}
      key: REGISTRY_STORAGE_S3_ACCESSKEY
- name: SEAWALL_STORAGE__S3__SECRETKEY
  valueFrom:
    secretKeyRef:
      name: {{ $s.s3.existingSecret | default $name }}
      key: REGISTRY_STORAGE_S3_SECRETKEY
{{- else if eq $s.type "azure" }}
- name: SEAWALL_STORAGE__AZURE__ACCOUNTKEY
  valueFrom:
    secretKeyRef:
      name: {{ $s.azure.existingSecret | default $name }}
      key: AZURE_STORAGE_ACCESS_KEY
{{- end }}
{{- end -}}

{{- define "seawall.env.core" -}}
- name: SEAWALL_JOBS__EMBEDDED
  value: {{ eq (include "seawall.jobservice.most" .) "0" | quote }}
- name: POD_IP
  valueFrom:
    fieldRef:
      fieldPath: status.podIP
# Where other instances reach this one; `seawall ha check` tests every pair.
- name: SEAWALL_HA__ADDRESS
  value: {{ include "seawall.scheme" . | lower }}://$(POD_IP):8080
{{- end -}}

{{- define "seawall.env.jobservice" -}}
- name: SEAWALL_JOBS__SLOTS
  value: {{ .Values.jobservice.maxJobWorkers | quote }}
- name: SEAWALL_JOBS__HEALTH_PORT
  value: "8081"
{{- end -}}

{{- define "seawall.env.database" -}}
- name: POSTGRES_USER
  value: seawall
- name: POSTGRES_DB
  value: registry
- name: PGDATA
  value: /data/pgdata
- name: POSTGRES_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ include "seawall.fullname" . }}
      key: databasePassword
{{- end -}}
