{{/* What would start and then lose data or stand still is refused here, with the cure. */}}
{{- define "seawall.checks" -}}
{{- include "seawall.checks.harbor" . -}}
{{- include "seawall.checks.budgets" . -}}
{{- $core := int (include "seawall.core.most" .) -}}
{{- $storage := .Values.persistence.imageChartStorage -}}
{{- $claim := .Values.persistence.persistentVolumeClaim.registry -}}
{{- $many := or (gt $core 1) (gt (int (include "seawall.jobservice.most" .)) 0) -}}
{{- if not (hasPrefix "http" .Values.externalURL) -}}
{{- fail "externalURL must be the registry's address, with http:// or https://" -}}
{{- end -}}
{{- if and (gt $core 1) (eq .Values.database.type "embedded") -}}
{{- fail (printf "core may come to %d replicas, but database.type is embedded (SQLite), which one instance can use: set database.type to external or internal, or one replica" $core) -}}
{{- end -}}
{{- if and (gt $core 1) (eq $storage.type "filesystem") (ne $claim.accessMode "ReadWriteMany") -}}
{{- fail (printf "core may come to %d replicas, but persistence.persistentVolumeClaim.registry.accessMode is %s, a volume of one node: use ReadWriteMany, or imageChartStorage.type s3, gcs or azure, or one replica" $core $claim.accessMode) -}}
{{- end -}}
{{- if and (gt (int (include "seawall.jobservice.most" .)) 1) (eq $storage.type "filesystem") (ne $claim.accessMode "ReadWriteMany") -}}
{{- fail (printf "jobservice has more than one replica, but persistence.persistentVolumeClaim.registry.accessMode is %s: use ReadWriteMany, or imageChartStorage.type s3, gcs or azure, or one replica" $claim.accessMode) -}}
{{- end -}}
{{- if and $many (not .Values.persistence.enabled) (eq $storage.type "filesystem") (ne .Values.database.type "embedded") -}}
{{- fail "persistence.enabled is false, so core and jobservice would each have files of their own: enable it, or use imageChartStorage.type s3, gcs or azure, or database.type embedded for a trial" -}}
{{- end -}}
{{- if and (gt $core 1) (eq .Values.redis.type "none") -}}
{{- fail (printf "core may come to %d replicas, but redis.type is none: sessions and caches would not be shared; set redis.type to external or internal" $core) -}}
{{- end -}}
{{- if and .Values.core.accelerate.enabled (ne $storage.type "filesystem") -}}
{{- fail (printf "core.accelerate.enabled is for imageChartStorage.type filesystem; with %s clients get blobs from the object store (disableredirect: false)" $storage.type) -}}
{{- end -}}
{{- if and (eq .Values.database.type "external") (not .Values.database.external.host) -}}
{{- fail "database.type is external, but database.external.host is empty" -}}
{{- end -}}
{{- if and (eq .Values.redis.type "external") (not .Values.redis.external.addr) -}}
{{- fail "redis.type is external, but redis.external.addr is empty" -}}
{{- end -}}
{{- if and (eq .Values.redis.type "external") (contains "," .Values.redis.external.addr) (not .Values.redis.external.sentinelMasterSet) -}}
{{- fail "redis.external.addr names several hosts, but redis.external.sentinelMasterSet is empty" -}}
{{- end -}}
{{- if and (eq $storage.type "s3") (not $storage.s3.bucket) -}}
{{- fail "imageChartStorage.type is s3, but imageChartStorage.s3.bucket is empty" -}}
{{- end -}}
{{- if and (eq $storage.type "gcs") (not $storage.gcs.bucket) -}}
{{- fail "imageChartStorage.type is gcs, but imageChartStorage.gcs.bucket is empty" -}}
{{- end -}}
{{- if and (eq $storage.type "gcs") (not (or $storage.gcs.existingSecret $storage.gcs.encodedkey $storage.gcs.useWorkloadIdentity)) -}}
{{- fail "imageChartStorage.type is gcs, but there is no key: give imageChartStorage.gcs.existingSecret or encodedkey, or set useWorkloadIdentity" -}}
{{- end -}}
{{- if eq $storage.type "azure" -}}
{{- if not (and $storage.azure.container $storage.azure.accountname) -}}
{{- fail "imageChartStorage.type is azure, but imageChartStorage.azure.container or accountname is empty" -}}
{{- end -}}
{{- if not (or $storage.azure.existingSecret $storage.azure.accountkey) -}}
{{- fail "imageChartStorage.type is azure, but there is no key: give imageChartStorage.azure.existingSecret or accountkey" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.expose.tls.enabled (eq .Values.expose.tls.certSource "secret") (ne .Values.expose.type "route") (not .Values.expose.tls.secret.secretName) -}}
{{- fail "expose.tls.certSource is secret, but expose.tls.secret.secretName is empty" -}}
{{- end -}}
{{- if and (include "seawall.tls.outer" .) (eq .Values.expose.tls.certSource "none") -}}
{{- fail "expose.tls.certSource none is for expose.type ingress: a certificate is needed here" -}}
{{- end -}}
{{- if and (include "seawall.tls.outer" .) (eq .Values.expose.tls.certSource "auto") (not .Values.expose.tls.auto.commonName) -}}
{{- fail "expose.tls.auto.commonName is needed to make a certificate when expose.type is not ingress" -}}
{{- end -}}
{{- if ne (empty .Values.core.tokenKey) (empty .Values.core.tokenCert) -}}
{{- fail "core.tokenKey and core.tokenCert must be given together" -}}
{{- end -}}
{{- end -}}

{{/* What Harbor's values may ask for, and what would be lost if it were left out in silence. */}}
{{- define "seawall.checks.harbor" -}}
{{- $v := .Values -}}
{{- $storage := $v.persistence.imageChartStorage -}}
{{- if eq $storage.type "swift" -}}
{{- fail "imageChartStorage.type swift is not supported: use type s3 with the address of the S3 interface that Swift has (s3api) as regionendpoint, and EC2 credentials (openstack ec2 credentials create)" -}}
{{- end -}}
{{- if and (eq $storage.type "oss") (not (and $storage.oss.bucket $storage.oss.region)) -}}
{{- fail "imageChartStorage.type is oss, but imageChartStorage.oss.bucket or region is empty" -}}
{{- end -}}
{{- if and (eq $storage.type "oss") (not (and $storage.oss.accesskeyid (or $storage.oss.accesskeysecret $storage.oss.existingSecret))) -}}
{{- fail "imageChartStorage.type is oss, but there is no key: give imageChartStorage.oss.accesskeyid, and accesskeysecret or existingSecret" -}}
{{- end -}}
{{- $root := $storage.filesystem.rootdirectory | trimSuffix "/" -}}
{{- if not (hasPrefix "/" $root) -}}
{{- fail "imageChartStorage.filesystem.rootdirectory must be a path that begins with /" -}}
{{- end -}}
{{- range list "/etc" "/tmp" "/opt" "/usr" "/bin" "/lib" "/proc" "/sys" "/dev" "/run" -}}
{{- if hasPrefix (printf "%s/" .) (printf "%s/" $root) -}}
{{- fail (printf "imageChartStorage.filesystem.rootdirectory %s: a volume there would hide the image's own files; use /storage" $root) -}}
{{- end -}}
{{- end -}}
{{- if and (eq $v.database.type "embedded") (not (hasPrefix "/storage/" (printf "%s/" $root))) -}}
{{- fail "database.type is embedded: imageChartStorage.filesystem.rootdirectory must be /storage or below it" -}}
{{- end -}}
{{- if and $v.trace.enabled (eq $v.trace.provider "otel") (not $v.trace.otel.endpoint) -}}
{{- fail "trace.enabled is true, but trace.otel.endpoint is empty: give host:port of a collector that takes OTLP over HTTP (usually port 4318)" -}}
{{- end -}}
{{- if hasKey ($v.core.configureUserSettings | default "{}" | fromJson) "Error" -}}
{{- fail "core.configureUserSettings is not a JSON object, such as '{\"auth_mode\": \"oidc_auth\"}'" -}}
{{- end -}}
{{- if and (eq $v.database.type "external") (eq $v.database.external.sslmode "verify-ca") (not $v.caBundleSecretName) -}}
{{- fail "database.external.sslmode verify-ca needs the database's authority: give caBundleSecretName (a secret with ca.crt), or sslmode verify-full where the certificate is of a public authority" -}}
{{- end -}}
{{- if and (eq $v.expose.type "route") (not $v.expose.route.parentRefs) -}}
{{- fail "expose.type is route, but expose.route.parentRefs names no gateway" -}}
{{- end -}}
{{- if $v.internalTLS.enabled -}}
{{- if eq $v.expose.type "route" -}}
{{- fail "internalTLS with expose.type route: how a gateway speaks TLS to a backend is a BackendTLSPolicy of its own; set internalTLS.enabled to false" -}}
{{- end -}}
{{- if and (eq $v.internalTLS.certSource "secret") (not $v.internalTLS.core.secretName) -}}
{{- fail "internalTLS.certSource is secret, but internalTLS.core.secretName is empty" -}}
{{- end -}}
{{- if and (eq $v.internalTLS.certSource "manual") (not (and $v.internalTLS.core.crt $v.internalTLS.core.key)) -}}
{{- fail "internalTLS.certSource is manual, but internalTLS.core.crt or key is empty" -}}
{{- end -}}
{{- end -}}
{{- if and (not $v.ipFamily.ipv4.enabled) (not $v.ipFamily.ipv6.enabled) -}}
{{- fail "ipFamily.ipv4.enabled and ipFamily.ipv6.enabled are both false" -}}
{{- end -}}
{{- if and (has "IPv6" $v.ipFamily.families) (not $v.ipFamily.ipv6.enabled) -}}
{{- fail "ipFamily.families has IPv6, but ipFamily.ipv6.enabled is false, so pods would not listen there" -}}
{{- end -}}
{{- end -}}

{{/* Budgets under which no node could ever be drained, and autoscalers that cannot work. */}}
{{- define "seawall.checks.budgets" -}}
{{- range $component := list "core" "jobservice" -}}
{{- $values := index $.Values $component -}}
{{- $most := int (include (printf "seawall.%s.most" $component) $) -}}
{{- $budget := $values.podDisruptionBudget -}}
{{- if and $budget.enabled (gt $most 1) -}}
{{- $least := $most -}}
{{- if $values.autoscaling.enabled -}}{{- $least = int $values.autoscaling.minReplicas -}}{{- end -}}
{{- $free := toString ($budget.maxUnavailable | toString) -}}
{{- $kept := toString $budget.minAvailable -}}
{{- if ne $free "" -}}
{{- if has $free (list "0" "0%") -}}
{{- fail (printf "%s.podDisruptionBudget.maxUnavailable is %s: no node could ever be drained" $component $free) -}}
{{- end -}}
{{- else if ge (ternary (div (add (mul (int (trimSuffix "%" $kept)) (max $least 2)) 99) 100) (int64 $kept) (hasSuffix "%" $kept)) (max $least 2) -}}
{{/* Kubernetes rounds a percentage of what must be there up. */}}
{{- fail (printf "%s.podDisruptionBudget.minAvailable is %s of %d replicas: no node could ever be drained" $component $kept $least) -}}
{{- end -}}
{{- end -}}
{{- if and $values.autoscaling.enabled (gt (int $values.autoscaling.minReplicas) (int $values.autoscaling.maxReplicas)) -}}
{{- fail (printf "%s.autoscaling.minReplicas is larger than maxReplicas" $component) -}}
{{- end -}}
{{- end -}}
{{- end -}}
