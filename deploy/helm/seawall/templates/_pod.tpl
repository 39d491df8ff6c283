{{/* Environment of every Seawall container. */}}
{{- define "seawall.env" -}}
{{- $name := include "seawall.fullname" . -}}
- name: SEAWALL_CONFIG
  value: /etc/seawall/seawall.yml
- name: SEAWALL_ADMIN_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ .Values.existingSecretAdminPassword | default $name }}
      key: {{ ternary .Values.existingSecretAdminPasswordKey "HARBOR_ADMIN_PASSWORD" (not (empty .Values.existingSecretAdminPassword)) }}
{{- if eq .Values.database.type "internal" }}
- name: PGPASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ $name }}
      key: databasePassword
{{- else if eq .Values.database.type "external" }}
- name: PGPASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ .Values.database.external.existingSecret | default $name }}
      key: {{ ternary "password" "databasePassword" (not (empty .Values.database.external.existingSecret)) }}
{{- if .Values.caBundleSecretName }}
- name: PGSSLROOTCERT
  value: /etc/seawall/ca/ca.crt
{{- end }}
{{- end }}
{{- include "seawall.env.redis" . }}
{{- include "seawall.env.storage" . }}
{{- if .Values.caBundleSecretName }}
- name: SSL_CERT_FILE
  value: /etc/seawall/ca/ca.crt
{{- end }}
{{- with .Values.proxy }}
{{- if .httpProxy }}
- name: HTTP_PROXY
  value: {{ .httpProxy | quote }}
{{- end }}
{{- if .httpsProxy }}
- name: HTTPS_PROXY
  value: {{ .httpsProxy | quote }}
{{- end }}
{{- if or .httpProxy .httpsProxy }}
- name: NO_PROXY
  value: {{ .noProxy | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "seawall.mounts" -}}
- name: config
  mountPath: /etc/seawall/seawall.yml
  subPath: seawall.yml
  readOnly: true
- name: keys
  mountPath: /etc/seawall/keys
  readOnly: true
- name: tmp
  mountPath: /tmp
{{- if include "seawall.volume" . }}
- name: registry
  mountPath: /storage
  {{- with .Values.persistence.persistentVolumeClaim.registry.subPath }}
  subPath: {{ . }}
  {{- end }}
{{- end }}
{{- if include "seawall.tls.inside" . }}
- name: tls
  mountPath: /etc/seawall/tls
  readOnly: true
{{- end }}
{{- if .Values.caSecretName }}
- name: ca-download
  mountPath: /etc/seawall/ca-download
  readOnly: true
{{- end }}
{{- if .Values.caBundleSecretName }}
- name: ca
  mountPath: /etc/seawall/ca
  readOnly: true
{{- end }}
{{- if .Values.persistence.imageChartStorage.caBundleSecretName }}
- name: storage-ca
  mountPath: /etc/seawall/storage-ca
  readOnly: true
{{- end }}
{{- if eq .Values.persistence.imageChartStorage.type "gcs" }}
{{- if not .Values.persistence.imageChartStorage.gcs.useWorkloadIdentity }}
- name: gcs
  mountPath: /etc/seawall/gcs
  readOnly: true
{{- end }}
{{- end }}
{{- end -}}

{{- define "seawall.volumes" -}}
{{- $name := include "seawall.fullname" . -}}
- name: config
  configMap:
    name: {{ $name }}
- name: keys
  projected:
    defaultMode: 0440
    sources:
      - secret:
          name: {{ .Values.existingSecretMasterKey | default $name }}
          items:
            - key: masterKey
              path: master.key
      {{- if or .Values.existingSecretSecretKey .Values.secretKey }}
      - secret:
          name: {{ .Values.existingSecretSecretKey | default $name }}
          items:
            - key: secretKey
              path: secretkey
      {{- end }}
      {{- if or .Values.core.secretName .Values.core.tokenKey }}
      - secret:
          name: {{ .Values.core.secretName | default $name }}
          items:
            - key: tls.key
              path: private_key.pem
            - key: tls.crt
              path: root.crt
      {{- end }}
      {{- if or .Values.core.existingXsrfSecret .Values.core.xsrfKey }}
      - secret:
          name: {{ .Values.core.existingXsrfSecret | default $name }}
          items:
            - key: {{ ternary .Values.core.existingXsrfSecretKey "CSRF_KEY" (not (empty .Values.core.existingXsrfSecret)) }}
              path: csrf_key
      {{- end }}
- name: tmp
  emptyDir: {}
{{- if include "seawall.volume" . }}
- name: registry
  {{- if .Values.persistence.enabled }}
  persistentVolumeClaim:
    claimName: {{ include "seawall.claim" . }}
  {{- else }}
  emptyDir: {}
  {{- end }}
{{- end }}
{{- if include "seawall.tls.inside" . }}
- name: tls
  secret:
    secretName: {{ include "seawall.tls.secret" . }}
    defaultMode: 0440
{{- end }}
{{- with .Values.caSecretName }}
- name: ca-download
  secret:
    secretName: {{ . }}
    items:
      - key: ca.crt
        path: ca.crt
{{- end }}
{{- with .Values.caBundleSecretName }}
- name: ca
  secret:
    secretName: {{ . }}
{{- end }}
{{- with .Values.persistence.imageChartStorage.caBundleSecretName }}
- name: storage-ca
  secret:
    secretName: {{ . }}
{{- end }}
{{- if eq .Values.persistence.imageChartStorage.type "gcs" }}
{{- if not .Values.persistence.imageChartStorage.gcs.useWorkloadIdentity }}
- name: gcs
  secret:
    secretName: {{ .Values.persistence.imageChartStorage.gcs.existingSecret | default $name }}
    defaultMode: 0440
    items:
      - key: GCS_KEY_DATA
        path: gcs-key.json
{{- end }}
{{- end }}
{{- end -}}

{{/* What core and jobservice pods have in common: (dict "root" $ "values" .Values.core "component" "core") */}}
{{- define "seawall.podCommon" -}}
{{- with .values.serviceAccountName }}
serviceAccountName: {{ . }}
{{- end }}
automountServiceAccountToken: {{ .values.automountServiceAccountToken }}
terminationGracePeriodSeconds: {{ .values.terminationGracePeriodSeconds }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
securityContext:
  {{- include "seawall.podSecurity" .root | nindent 2 }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.initContainers }}
initContainers:
  {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
{{- with .values.topologySpreadConstraints }}
  {{- toYaml . | nindent 2 }}
{{- else }}
  # Zones go down as a whole: spread over them where the cluster has some.
  - maxSkew: 1
    topologyKey: topology.kubernetes.io/zone
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "seawall.selector" .root | nindent 8 }}
        app.kubernetes.io/component: {{ .component }}
{{- end }}
volumes:
  {{- include "seawall.volumes" .root | nindent 2 }}
{{- end -}}

{{/* Secrets are read at start: a change of one must restart the pods. */}}
{{- define "seawall.checksums" -}}
checksum/config: {{ include "seawall.config" . | sha256sum }}
{{- end -}}
