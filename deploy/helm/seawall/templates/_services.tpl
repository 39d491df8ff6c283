{{/* Storage, Redis and jobs in Seawall's settings. */}}
{{- define "seawall.config.storage" -}}
{{- $s := .Values.persistence.imageChartStorage -}}
driver: {{ $s.type }}
{{- if eq $s.type "filesystem" }}
root: {{ $s.filesystem.rootdirectory }}
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
{{- end -}}

{{- define "seawall.env.core" -}}
- name: SEAWALL_JOBS__EMBEDDED
  value: {{ eq (include "seawall.jobservice.most" .) "0" | quote }}
{{- end -}}

{{- define "seawall.env.jobservice" -}}
- name: SEAWALL_JOBS__SLOTS
  value: {{ .Values.jobservice.maxJobWorkers | quote }}
{{- end -}}
