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
{{- if ne .Values.database.type "embedded" }}
{{ include "seawall.env.password" (dict "root" . "secret" $name) }}
{{- end }}
{{- include "seawall.env.redis" . }}
{{- include "seawall.env.storage" . }}
{{- if .Values.core.configureUserSettings }}
- name: SEAWALL_CONFIGURATION
  valueFrom:
    secretKeyRef:
      name: {{ $name }}
      key: configureUserSettings
{{- end }}
{{- if or .Values.metrics.token .Values.metrics.existingSecret }}
- name: SEAWALL_METRICS__TOKEN
  valueFrom:
    secretKeyRef:
      name: {{ .Values.metrics.existingSecret | default $name }}
      key: metricsToken
{{- end }}
{{- if include "seawall.trace.login" . }}
- name: SEAWALL_TRACE__HEADERS
  valueFrom:
    secretKeyRef:
      name: {{ $name }}
      key: traceHeaders
{{- end }}
{{- end -}}

{{/* The database's password: the operator's secret, or one of the chart's. (dict "root" $ "secret" NAME) */}}
{{- define "seawall.env.password" -}}
- name: PGPASSWORD
  valueFrom:
    secretKeyRef:
      {{- $given := "" }}
      {{- if eq .root.Values.database.type "external" }}{{ $given = .root.Values.database.external.existingSecret }}{{ end }}
      name: {{ $given | default .secret }}
      key: {{ ternary "password" "databasePassword" (not (empty $given)) }}
{{- end -}}

{{/* The way out, where the component's pods are to have it: (dict "root" $ "names" LIST) */}}
{{- define "seawall.env.proxy" -}}
{{- $asked := false -}}
{{- range .names -}}
{{- if has . ($.root.Values.proxy.components | default list) -}}{{- $asked = true -}}{{- end -}}
{{- end -}}
{{- if $asked -}}
{{- with .root.Values.proxy }}
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
{{- end -}}

{{/*
Environment of a container, and the operator's own variables: one that has the name of the chart's takes its place,
for a name that is there twice is refused by server-side apply. (dict "env" YAML "extra" LIST)
*/}}
{{- define "seawall.env.merged" -}}
{{- $own := dict -}}
{{- range .extra -}}
{{/* A number or true is no text, which is what a variable must be; as JSON, for toString makes 1e+07 of ten millions. */}}
{{- $written := and (hasKey . "value") (not (kindIs "invalid" .value)) (not (kindIs "string" .value)) -}}
{{- $_ := set $own .name (ternary (merge (dict "value" (toJson .value)) .) . $written) -}}
{{- end -}}
{{- $all := list -}}
{{- $done := list -}}
{{- range concat (.env | fromYamlArray) (.extra | default list) -}}
{{- if not (has .name $done) -}}
{{- $done = append $done .name -}}
{{- $all = append $all (get $own .name | default .) -}}
{{- end -}}
{{- end -}}
{{- toYaml $all -}}
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
  mountPath: {{ include "seawall.storage.mount" . }}
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
{{- if include "seawall.authorities" . }}
- name: ca
  mountPath: /etc/seawall/ca
  readOnly: true
{{- end }}
{{- if include "seawall.authority.s3" . }}
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
    secretName: {{ include "seawall.tls.core" . }}
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
{{- with include "seawall.volume.ca" . }}
{{ . }}
{{- end }}
{{- with include "seawall.authority.s3" . }}
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
{{- with include "seawall.account" . }}
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
{{- with include "seawall.tolerations" . | fromYamlArray }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- else }}
{{- if and (eq .component "jobservice") (include "seawall.one.node" .root) }}
affinity:
  # The volume is of one node: go where core is.
  podAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      - topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            {{- include "seawall.selector" .root | nindent 12 }}
            app.kubernetes.io/component: core
{{- end }}
{{- end }}
{{- with .values.initContainers }}
initContainers:
  {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
  {{- include "seawall.spread" . | nindent 2 }}
volumes:
  {{- include "seawall.volumes" .root | nindent 2 }}
  {{- if and (eq .component "core") .root.Values.core.accelerate.enabled }}
  - name: nginx-tmp
    emptyDir: {}
  {{- end }}
  {{- with .values.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/*
Tolerations: the operator's, and of a lost node for nodeLossSeconds instead of the five minutes that Kubernetes gives.
*/}}
{{- define "seawall.tolerations" -}}
{{- $all := .values.tolerations | default list -}}
{{- $keys := list -}}
{{- range $all -}}
{{- $keys = append $keys (.key | default "") -}}
{{- end -}}
{{- range list "node.kubernetes.io/not-ready" "node.kubernetes.io/unreachable" -}}
{{- if not (or (has . $keys) (has "" $keys)) -}}
{{- $all = append $all (dict "key" . "operator" "Exists" "effect" "NoExecute" "tolerationSeconds" (int $.root.Values.nodeLossSeconds)) -}}
{{- end -}}
{{- end -}}
{{- toYaml $all -}}
{{- end -}}

{{/* Where the volume of the registry is mounted: at /storage, or where imageChartStorage.filesystem says. */}}
{{- define "seawall.storage.mount" -}}
{{- $root := .Values.persistence.imageChartStorage.filesystem.rootdirectory | trimSuffix "/" -}}
{{- if or (ne .Values.persistence.imageChartStorage.type "filesystem") (hasPrefix "/storage/" $root) -}}
/storage
{{- else -}}
{{- $root -}}
{{- end -}}
{{- end -}}


{{- define "seawall.volume.ca" -}}
{{- with include "seawall.authorities" . -}}
- name: ca
  projected:
    sources:
      {{- range $number, $secret := splitList "," . }}
      - secret:
          name: {{ $secret }}
          items:
            - key: ca.crt
              path: ca-{{ $number }}.crt
      {{- end }}
{{- end -}}
{{- end -}}
