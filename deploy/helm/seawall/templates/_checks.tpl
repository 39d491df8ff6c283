{{/* What would start and then lose data or stand still is refused here, with the cure. */}}
{{- define "seawall.checks" -}}
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
{{- if and (eq $storage.type "azure") (not $storage.azure.container) -}}
{{- fail "imageChartStorage.type is azure, but imageChartStorage.azure.container is empty" -}}
{{- end -}}
{{- if and .Values.expose.tls.enabled (eq .Values.expose.tls.certSource "secret") (not .Values.expose.tls.secret.secretName) -}}
{{- fail "expose.tls.certSource is secret, but expose.tls.secret.secretName is empty" -}}
{{- end -}}
{{- if and (include "seawall.tls.inside" .) (eq .Values.expose.tls.certSource "none") -}}
{{- fail "expose.tls.certSource none is for expose.type ingress: a certificate is needed here" -}}
{{- end -}}
{{- if and (include "seawall.tls.inside" .) (eq .Values.expose.tls.certSource "auto") (not .Values.expose.tls.auto.commonName) -}}
{{- fail "expose.tls.auto.commonName is needed to make a certificate when expose.type is not ingress" -}}
{{- end -}}
{{- if ne (empty .Values.core.tokenKey) (empty .Values.core.tokenCert) -}}
{{- fail "core.tokenKey and core.tokenCert must be given together" -}}
{{- end -}}
{{- if and .Values.core.autoscaling.enabled (gt (int .Values.core.autoscaling.minReplicas) (int .Values.core.autoscaling.maxReplicas)) -}}
{{- fail "core.autoscaling.minReplicas is larger than maxReplicas" -}}
{{- end -}}
{{- if and .Values.core.podDisruptionBudget.enabled (gt $core 1) (ge (int .Values.core.podDisruptionBudget.minAvailable) $core) -}}
{{- fail (printf "core.podDisruptionBudget.minAvailable is %d of %d replicas: no node could ever be drained" (int .Values.core.podDisruptionBudget.minAvailable) $core) -}}
{{- end -}}
{{- end -}}
