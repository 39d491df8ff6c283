{{/*
The chart's own secrets. What is made at random is made once in a rendering (kept below .Values), so that the checksum
in the pods is that of the Secret; and once in a cluster: the Secret outlives `helm uninstall`, as the volumes do, and
is found again by its name.
*/}}

{{/* What a Secret of the cluster holds: (dict "root" $ "name" NAME). In YAML; empty where there is none. */}}
{{- define "seawall.secret.old" -}}
{{- $old := (lookup "v1" "Secret" .root.Release.Namespace .name) | default dict -}}
{{- $old.data | default dict | toYaml -}}
{{- end -}}

{{/* Data of the release's Secret, in YAML. */}}
{{- define "seawall.secret.data" -}}
{{- if not (hasKey .Values "_secret") -}}
{{- $_ := set .Values "_secret" (include "seawall.secret.make" .) -}}
{{- end -}}
{{- .Values._secret -}}
{{- end -}}

{{/* The value that is given, or was made before, or is made now: (dict "root" $ "old" DATA "key" KEY "given" V "made" V "value" NAMES) */}}
{{- define "seawall.kept" -}}
{{- if .given -}}
{{- .given | b64enc -}}
{{- else if index .old .key -}}
{{- index .old .key -}}
{{- else if .root.Values.gitops -}}
{{- fail (printf "gitops is true, so nothing is made at random: give %s" .value) -}}
{{- else -}}
{{- .made | b64enc -}}
{{- end -}}
{{- end -}}

{{- define "seawall.secret.make" -}}
{{- $v := .Values -}}
{{- $name := include "seawall.fullname" . -}}
{{- $old := include "seawall.secret.old" (dict "root" . "name" $name) | fromYaml -}}
{{- include "seawall.secret.checks" (dict "root" . "old" $old) -}}
{{- $data := dict -}}
{{- if not $v.existingSecretMasterKey -}}
{{- $_ := set $data "masterKey" (include "seawall.kept" (dict "root" . "old" $old "key" "masterKey" "given" $v.masterKey "made" (randBytes 32) "value" "masterKey or existingSecretMasterKey")) -}}
{{- end -}}
{{- if and $v.secretKey (not $v.existingSecretSecretKey) -}}
{{- $_ := set $data "secretKey" (b64enc $v.secretKey) -}}
{{- end -}}
{{- if not $v.existingSecretAdminPassword -}}
{{- $_ := set $data "HARBOR_ADMIN_PASSWORD" (include "seawall.kept" (dict "root" . "old" $old "key" "HARBOR_ADMIN_PASSWORD" "given" $v.harborAdminPassword "made" (printf "%s-Aa1" (randAlphaNum 20)) "value" "harborAdminPassword or existingSecretAdminPassword")) -}}
{{- end -}}
{{- if eq $v.database.type "internal" -}}
{{- $_ := set $data "databasePassword" (include "seawall.kept" (dict "root" . "old" $old "key" "databasePassword" "given" $v.database.internal.password "made" (randAlphaNum 24) "value" "database.internal.password, or an external database")) -}}
{{- else if and (eq $v.database.type "external") (not $v.database.external.existingSecret) -}}
{{- $_ := set $data "databasePassword" (b64enc $v.database.external.password) -}}
{{- end -}}
{{- if and (eq $v.redis.type "external") $v.redis.external.password (not $v.redis.external.existingSecret) -}}
{{- $_ := set $data "REDIS_USERNAME" (b64enc $v.redis.external.username) -}}
{{- $_ := set $data "REDIS_PASSWORD" (b64enc $v.redis.external.password) -}}
{{- end -}}
{{- $storage := $v.persistence.imageChartStorage -}}
{{- if has $storage.type (list "s3" "oss") -}}
{{- $s3 := include "seawall.s3" . | fromYaml -}}
{{- if and $s3.accesskey (or (not $s3.existingSecret) (eq $storage.type "oss")) -}}
{{- $_ := set $data "REGISTRY_STORAGE_S3_ACCESSKEY" (b64enc $s3.accesskey) -}}
{{- end -}}
{{- if and $s3.accesskey (not $s3.existingSecret) -}}
{{- $_ := set $data "REGISTRY_STORAGE_S3_SECRETKEY" (b64enc $s3.secretkey) -}}
{{- end -}}
{{- else if and (eq $storage.type "gcs") (not $storage.gcs.existingSecret) (not $storage.gcs.useWorkloadIdentity) -}}
{{- $_ := set $data "GCS_KEY_DATA" $storage.gcs.encodedkey -}}
{{- else if and (eq $storage.type "azure") (not $storage.azure.existingSecret) -}}
{{- $_ := set $data "AZURE_STORAGE_ACCESS_KEY" (b64enc $storage.azure.accountkey) -}}
{{- end -}}
{{- if and $v.core.tokenKey (not $v.core.secretName) -}}
{{- $_ := set $data "tls.key" (b64enc $v.core.tokenKey) -}}
{{- $_ := set $data "tls.crt" (b64enc $v.core.tokenCert) -}}
{{- end -}}
{{- if and $v.core.xsrfKey (not $v.core.existingXsrfSecret) -}}
{{- $_ := set $data "CSRF_KEY" (b64enc $v.core.xsrfKey) -}}
{{- end -}}
{{- if $v.core.configureUserSettings -}}
{{- $_ := set $data "configureUserSettings" (b64enc $v.core.configureUserSettings) -}}
{{- end -}}
{{- if and $v.metrics.token (not $v.metrics.existingSecret) -}}
{{- $_ := set $data "metricsToken" (b64enc $v.metrics.token) -}}
{{- end -}}
{{- if include "seawall.trace.login" . -}}
{{- $_ := set $data "traceHeaders" (dict "Authorization" (printf "Basic %s" (printf "%s:%s" $v.trace.jaeger.username $v.trace.jaeger.password | b64enc)) | toJson | b64enc) -}}
{{- end -}}
{{- toYaml $data -}}
{{- end -}}

{{/* Whether the collector wants a user and a password. */}}
{{- define "seawall.trace.login" -}}
{{- if and (include "seawall.trace.url" .) (eq .Values.trace.provider "jaeger") .Values.trace.jaeger.username -}}true{{- end -}}
{{- end -}}

{{/* Keys that would not open what is there already: (dict "root" $ "old" DATA) */}}
{{- define "seawall.secret.checks" -}}
{{- $v := .root.Values -}}
{{- $name := include "seawall.fullname" .root -}}
{{- $space := .root.Release.Namespace -}}
{{- $master := .old.masterKey | default "" | b64dec | trim -}}
{{- if and $v.masterKey $master (not $v.existingSecretMasterKey) (ne $v.masterKey $master) -}}
{{- fail (printf "masterKey is not the one in secret %s, and the database would not open with it: leave masterKey empty, or, after the master key was replaced (docs/keys.md), put the new one there first: kubectl -n %s patch secret %s -p '{\"stringData\": {\"masterKey\": \"...\"}}'" $name $space $name) -}}
{{- end -}}
{{- $password := .old.databasePassword | default "" | b64dec -}}
{{- if and (eq $v.database.type "internal") $v.persistence.enabled $v.database.internal.password $password (ne $v.database.internal.password $password) -}}
{{- fail (printf "database.internal.password is not the one in secret %s, and PostgreSQL keeps the password that it was made with: leave it empty, or change it in PostgreSQL (ALTER USER seawall PASSWORD '...') and in the secret first" $name) -}}
{{- end -}}
{{- if and (not $master) (not $v.masterKey) (not $v.existingSecretMasterKey) -}}
{{- if lookup "apps/v1" "Deployment" $space (printf "%s-core" $name) -}}
{{- fail (printf "this release runs with a master key that is not in secret %s: restore the secret from your backup, or give masterKey or existingSecretMasterKey as they were; another key would not open the database" $name) -}}
{{- end -}}
{{- end -}}
{{- if and (not .old) $v.persistence.enabled -}}
{{- $claims := list -}}
{{- if eq $v.database.type "internal" -}}
{{- if not $v.persistence.persistentVolumeClaim.database.existingClaim -}}
{{- $claims = append $claims (printf "data-%s-0" (include "seawall.stateful" (dict "root" .root "component" "database"))) -}}
{{- end -}}
{{- else if eq $v.database.type "embedded" -}}
{{- $claims = append $claims (include "seawall.claim" .root) -}}
{{- end -}}
{{- range $claims -}}
{{- if lookup "v1" "PersistentVolumeClaim" $space . -}}
{{- $missing := list -}}
{{- if not (or $v.masterKey $v.existingSecretMasterKey) -}}{{- $missing = append $missing "masterKey" -}}{{- end -}}
{{- if and (eq $v.database.type "internal") (not $v.database.internal.password) -}}{{- $missing = append $missing "database.internal.password" -}}{{- end -}}
{{- if $missing -}}
{{- fail (printf "volume claim %s holds the database of a former installation, and secret %s, which opens it, is gone: restore the secret from your backup, or give %s as they were, or delete the claim to begin with nothing: kubectl -n %s delete pvc %s" . $name (join " and " $missing) $space .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A self-signed certificate, kept: (dict "root" $ "name" SECRET "hosts" LIST "ips" LIST). Data of its secret in YAML. */}}
{{- define "seawall.tls.data" -}}
{{- $memo := printf "_tls_%s" .name -}}
{{- if not (hasKey .root.Values $memo) -}}
{{- $old := (lookup "v1" "Secret" .root.Release.Namespace .name) | default dict -}}
{{- $data := $old.data | default dict -}}
{{- $made := index (($old.metadata | default dict).annotations | default dict) "seawall/hosts" -}}
{{/* A certificate for other names is of no use; one of a chart that did not write them down is taken as it is. */}}
{{- if or (not (index $data "tls.crt")) (and $made (ne $made (join "," (concat .hosts .ips)))) -}}
{{- if .root.Values.gitops -}}
{{- fail "gitops is true, so no certificate is made: give expose.tls.certSource secret or none, and internalTLS.certSource secret or manual" -}}
{{- end -}}
{{- $ca := genCA "seawall-ca" 3650 -}}
{{- $signed := genSignedCert (first (concat .hosts .ips)) .ips .hosts 3650 $ca -}}
{{- $data = dict "tls.crt" ($signed.Cert | b64enc) "tls.key" ($signed.Key | b64enc) "ca.crt" ($ca.Cert | b64enc) -}}
{{- end -}}
{{- $_ := set .root.Values $memo (dict "tls.crt" (index $data "tls.crt") "tls.key" (index $data "tls.key") "ca.crt" (index $data "ca.crt" | default (index $data "tls.crt")) | toYaml) -}}
{{- end -}}
{{- index .root.Values $memo -}}
{{- end -}}

{{/* The name in the certificate that clients see, where the chart makes it. */}}
{{- define "seawall.tls.outer.host" -}}
{{- if eq .Values.expose.type "ingress" -}}{{- .Values.expose.ingress.hosts.core -}}{{- else -}}{{- .Values.expose.tls.auto.commonName -}}{{- end -}}
{{- end -}}

{{/* Data of the secret of that certificate. */}}
{{- define "seawall.tls.outer.data" -}}
{{- $host := include "seawall.tls.outer.host" . -}}
{{- $address := regexMatch "^[0-9.]+$|:" $host -}}
{{- include "seawall.tls.data" (dict "root" . "name" (include "seawall.tls.secret" .) "hosts" (ternary list (list $host) $address) "ips" (ternary (list $host) list $address)) -}}
{{- end -}}

{{/* Data of the secret of internal TLS, where the chart makes it. */}}
{{- define "seawall.tls.internal.data" -}}
{{- $t := .Values.internalTLS -}}
{{- if eq $t.certSource "manual" -}}
{{- dict "tls.crt" (b64enc $t.core.crt) "tls.key" (b64enc $t.core.key) "ca.crt" (b64enc $t.trustCa) | toYaml -}}
{{- else -}}
{{- $hosts := list -}}
{{- range include "seawall.tls.internal.hosts" . | splitList "," -}}
{{- $hosts = append $hosts . -}}
{{- end -}}
{{- include "seawall.tls.data" (dict "root" . "name" (include "seawall.tls.core" .) "hosts" $hosts "ips" list) -}}
{{- end -}}
{{- end -}}

{{/* Names of the service, with commas between them. */}}
{{- define "seawall.tls.internal.hosts" -}}
{{- $service := include "seawall.service" . -}}
{{- $space := .Release.Namespace -}}
{{- list $service (printf "%s.%s" $service $space) (printf "%s.%s.svc" $service $space) (printf "%s.%s.svc.cluster.local" $service $space) | join "," -}}
{{- end -}}

{{/* Whether core has a certificate of internal TLS that the chart keeps in a secret. */}}
{{- define "seawall.tls.internal.made" -}}
{{- if and .Values.internalTLS.enabled (not (include "seawall.tls.outer" .)) (ne .Values.internalTLS.certSource "secret") -}}true{{- end -}}
{{- end -}}

{{- define "seawall.tls.outer.made" -}}
{{- if and .Values.expose.tls.enabled (eq .Values.expose.tls.certSource "auto") (ne .Values.expose.type "route") -}}true{{- end -}}
{{- end -}}

{{/*
Secrets and settings are read at start: a change of one must restart the pods. What secrets of the operator's hold is
looked up; whoever renders without a cluster needs something that watches them (docs/install/kubernetes.md).
*/}}
{{- define "seawall.checksums" -}}
{{- $v := .Values -}}
{{- $storage := $v.persistence.imageChartStorage -}}
{{- $names := list $v.existingSecretMasterKey $v.existingSecretSecretKey $v.core.secretName $v.core.existingXsrfSecret $v.caBundleSecretName $v.uaaSecretName $v.metrics.existingSecret -}}
{{- if eq $v.database.type "external" -}}{{- $names = append $names $v.database.external.existingSecret -}}{{- end -}}
{{- if eq $v.redis.type "external" -}}{{- $names = append $names $v.redis.external.existingSecret -}}{{- end -}}
{{- if ne $storage.type "filesystem" -}}
{{- $names = concat $names (list $storage.caBundleSecretName (get $storage $storage.type).existingSecret) -}}
{{- end -}}
{{- $made := list (include "seawall.secret.data" .) -}}
{{- if include "seawall.tls.inside" . -}}
{{- if include "seawall.tls.internal.made" . -}}
{{- $made = append $made (include "seawall.tls.internal.data" .) -}}
{{- else if and (include "seawall.tls.outer" .) (include "seawall.tls.outer.made" .) -}}
{{- $made = append $made (include "seawall.tls.outer.data" .) -}}
{{- else -}}
{{- $names = append $names (include "seawall.tls.core" .) -}}
{{- end -}}
{{- end -}}
{{- range compact $names -}}
{{- $made = append $made (include "seawall.secret.old" (dict "root" $ "name" .)) -}}
{{- end -}}
checksum/config: {{ include "seawall.config" . | sha256sum }}
checksum/secrets: {{ join "\n" $made | sha256sum }}
{{- end -}}
