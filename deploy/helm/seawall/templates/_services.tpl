{{/* Storage, Redis and jobs in Seawall's settings. */}}
{{- define "seawall.config.storage" -}}
{{- $s := .Values.persistence.imageChartStorage -}}
driver: {{ $s.type }}
{{- if eq $s.type "filesystem" }}
root: {{ $s.filesystem.rootdirectory }}
{{- else }}
redirect: {{ not $s.disableredirect }}
{{- end }}
{{- if eq $s.type "s3" }}
s3:
  bucket: {{ $s.s3.bucket | quote }}
  region: {{ $s.s3.region | quote }}
  forcepathstyle: {{ $s.s3.forcepathstyle }}
  {{- with $s.s3.regionendpoint }}
  regionendpoint: {{ ternary . (printf "%s://%s" (ternary "https" "http" $s.s3.secure) .) (contains "://" .) | quote }}
  {{- end }}
  {{- with $s.s3.rootdirectory }}
  rootdirectory: {{ . | quote }}
  {{- end }}
  {{- if $s.s3.encrypt }}
  encrypt: true
  {{- end }}
  {{- with $s.s3.keyid }}
  keyid: {{ . | quote }}
  {{- end }}
  {{- if $s.s3.skipverify }}
  skipverify: true
  {{- end }}
  {{- if $s.caBundleSecretName }}
  cacert: /etc/seawall/storage-ca/ca.crt
  {{- end }}
{{- else if eq $s.type "gcs" }}
gcs:
  bucket: {{ $s.gcs.bucket | quote }}
  {{- with $s.gcs.rootdirectory }}
  rootdirectory: {{ . | quote }}
  {{- end }}
  {{- if not $s.gcs.useWorkloadIdentity }}
  keyfile: /etc/seawall/gcs/gcs-key.json
  {{- end }}
{{- else if eq $s.type "azure" }}
azure:
  container: {{ $s.azure.container | quote }}
  accountname: {{ $s.azure.accountname | quote }}
  {{- with $s.azure.rootdirectory }}
  rootdirectory: {{ . | quote }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "seawall.config.redis" -}}
{{- $r := .Values.redis -}}
{{- if eq $r.type "internal" -}}
url: redis://{{ include "seawall.fullname" . }}-redis:6379/0
{{- else -}}
{{- if $r.external.sentinelMasterSet -}}
sentinel: {{ $r.external.addr | nospace | quote }}
sentinel_master: {{ $r.external.sentinelMasterSet | quote }}
db: {{ int $r.external.coreDatabaseIndex }}
{{- else -}}
url: {{ ternary "rediss" "redis" $r.external.tlsOptions.enable }}://{{ $r.external.addr | trim }}/{{ $r.external.coreDatabaseIndex }}
{{- end }}
tls: {{ $r.external.tlsOptions.enable }}
{{- if and $r.external.tlsOptions.enable .Values.caBundleSecretName }}
tls_ca_file: /etc/seawall/ca/ca.crt
{{- end }}
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
  valueFrom:
    secretKeyRef:
      name: {{ $r.external.existingSecret }}
      key: REDIS_USERNAME
      optional: true
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
{{- if and (eq $s.type "s3") (or $s.s3.existingSecret $s.s3.accesskey) }}
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
{{- end -}}
