{{/* Storage and Redis in Seawall's settings. */}}
{{- define "seawall.config.storage" -}}
{{- $s := .Values.persistence.imageChartStorage -}}
driver: {{ $s.type }}
{{- if eq $s.type "filesystem" }}
root: {{ $s.filesystem.rootdirectory }}
{{- end }}
{{- end -}}

{{- define "seawall.config.redis" -}}
{{- $r := .Values.redis -}}
{{- if eq $r.type "internal" }}
url: redis://{{ include "seawall.fullname" . }}-redis:6379/0
{{- end }}
{{- end -}}

{{- define "seawall.env.redis" -}}
{{- end -}}

{{- define "seawall.env.storage" -}}
{{- end -}}

{{- define "seawall.env.core" -}}
{{- end -}}

{{- define "seawall.env.jobservice" -}}
{{- end -}}
