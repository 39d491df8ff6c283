{{/* seawall.yml: everything that is no secret; secrets come as environment variables and files. */}}
{{- define "seawall.config" -}}
{{- $v := .Values -}}
{{- $embedded := eq $v.database.type "embedded" -}}
{{- $http := dict "host" (ternary "::" "0.0.0.0" (not (empty (include "seawall.ipv6" .)))) "port" 8080 "workers" (int $v.core.workers) "drain_seconds" (max 5 (sub (int $v.core.terminationGracePeriodSeconds) 15)) -}}
{{- if include "seawall.tls.inside" . -}}
{{- $_ := set $http "tls_certificate" "/etc/seawall/tls/tls.crt" -}}
{{- $_ := set $http "tls_key" "/etc/seawall/tls/tls.key" -}}
{{- end -}}
{{- with $v.trustedProxies -}}
{{- $_ := set $http "trusted_proxies" . -}}
{{- end -}}
{{- if $v.core.accelerate.enabled -}}
{{- $_ := set $http "accelerate" "nginx" -}}
{{- $_ := set $http "trusted_proxies" (append ($v.trustedProxies | default list) "127.0.0.1" | uniq) -}}
{{- end -}}
{{/* Harbor's default is 900 a pod, which is no number for a process that keeps them all. */}}
{{- $most := int $v.database.maxOpenConns -}}
{{- $database := dict "pool_size" (ternary 20 $most (gt $most 100)) -}}
{{- if not $embedded -}}
{{- $_ := set $database "url" (include "seawall.databaseURL" .) -}}
{{- end -}}
{{- $config := dict
      "data_dir" (ternary "/storage/seawall" "/tmp/seawall" $embedded)
      "external_url" $v.externalURL
      "master_key_file" "/etc/seawall/keys/master.key"
      "http" $http
      "database" $database
      "storage" (include "seawall.config.storage" . | fromYaml)
      "gc" (dict "upload_hours" (include "seawall.uploadHours" . | int))
      "log" (dict "level" (ternary "error" $v.logLevel (eq $v.logLevel "fatal"))) -}}
{{- $jobs := dict -}}
{{- with $v.jobservice.loggerSweeperDuration -}}
{{- $_ := set $jobs "keep_days" (int .) -}}
{{- end -}}
{{- if ne (include "seawall.jobservice.most" .) "0" -}}
{{/* 15 seconds are for the end of the process. */}}
{{- $_ := set $jobs "drain_seconds" (max 5 (sub (int $v.jobservice.terminationGracePeriodSeconds) 15)) -}}
{{- end -}}
{{- with $jobs -}}
{{- $_ := set $config "jobs" . -}}
{{- end -}}
{{- with $v.jobservice.notification.webhook_job_http_client_timeout -}}
{{- $_ := set $config "webhooks" (dict "timeout_seconds" (int .)) -}}
{{- end -}}
{{- $keys := dict -}}
{{- if or $v.core.secretName $v.core.tokenKey -}}
{{- $keys = merge $keys (dict "private_key_file" "/etc/seawall/keys/private_key.pem" "root_crt_file" "/etc/seawall/keys/root.crt") -}}
{{- end -}}
{{- if or $v.core.existingXsrfSecret $v.core.xsrfKey -}}
{{- $_ := set $keys "csrf_key_file" "/etc/seawall/keys/csrf_key" -}}
{{- end -}}
{{- if or $v.existingSecretSecretKey $v.secretKey -}}
{{- $_ := set $keys "secret_key_file" "/etc/seawall/keys/secretkey" -}}
{{- end -}}
{{- if include "seawall.authorities" . -}}
{{- $_ := set $config "ca_bundle" "/etc/seawall/ca" -}}
{{- end -}}
{{- if $v.caSecretName -}}
{{- $_ := set $config "ca_download" "/etc/seawall/ca-download" -}}
{{- end -}}
{{- with $keys -}}
{{- $_ := set $config "keys" . -}}
{{- end -}}
{{- if ne $v.redis.type "none" -}}
{{- $_ := set $config "redis" (include "seawall.config.redis" . | fromYaml) -}}
{{- end -}}
{{- with include "seawall.config.trace" . | fromYaml -}}
{{- $_ := set $config "trace" . -}}
{{- end -}}
{{- if or $v.core.gdpr.auditLogsCompliant $v.core.gdpr.deleteUser -}}
{{- $_ := set $config "gdpr" (dict "audit_logs" $v.core.gdpr.auditLogsCompliant "delete_user" $v.core.gdpr.deleteUser) -}}
{{- end -}}
{{- toYaml (mustMergeOverwrite $config (deepCopy $v.config)) -}}
{{- end -}}

{{/* Section trace, in YAML; empty where nothing is traced. */}}
{{- define "seawall.config.trace" -}}
{{- $t := .Values.trace -}}
{{- $url := include "seawall.trace.url" . -}}
{{- if $url -}}
{{- $trace := dict "enabled" true "endpoint" $url "sample_rate" $t.sample_rate "compression" $t.otel.compression "timeout_seconds" ($t.otel.timeout | toString | trimSuffix "s" | int) -}}
{{- with $t.namespace -}}{{- $_ := set $trace "namespace" . -}}{{- end -}}
{{- with $t.attributes -}}{{- $_ := set $trace "attributes" . -}}{{- end -}}
{{- toYaml $trace -}}
{{- end -}}
{{- end -}}

{{/* Where spans are sent; empty where nothing is traced. */}}
{{- define "seawall.trace.url" -}}
{{- $t := .Values.trace -}}
{{- if not $t.enabled -}}
{{- else if eq $t.provider "otel" -}}
{{- if contains "://" $t.otel.endpoint -}}{{- $t.otel.endpoint -}}{{- else -}}{{- printf "%s://%s%s" (ternary "http" "https" $t.otel.insecure) $t.otel.endpoint $t.otel.url_path -}}{{- end -}}
{{- else if regexMatch "^https?://.*(:4318/?|/v1/traces)$" ($t.jaeger.endpoint | default "") -}}
{{- $t.jaeger.endpoint -}}
{{- end -}}
{{- end -}}

{{/* Hours after which uploads that nobody went on with are dropped; ten years are never. */}}
{{- define "seawall.uploadHours" -}}
{{- $purge := .Values.registry.upload_purging -}}
{{- if and $purge.enabled (not $purge.dryrun) -}}
{{- $purge.age | default "48h" | trimSuffix "h" -}}
{{- else -}}
87600
{{- end -}}
{{- end -}}

{{/* Secrets whose ca.crt is trusted beside the public authorities; only S3 can have an authority for itself. */}}
{{- define "seawall.authorities" -}}
{{- $storage := .Values.persistence.imageChartStorage -}}
{{- $own := ternary $storage.caBundleSecretName "" (has $storage.type (list "gcs" "azure")) -}}
{{- list .Values.caBundleSecretName .Values.uaaSecretName $own | compact | uniq | join "," -}}
{{- end -}}

{{/* The secret with the authority of S3 alone. */}}
{{- define "seawall.authority.s3" -}}
{{- if has .Values.persistence.imageChartStorage.type (list "s3" "oss") -}}
{{- .Values.persistence.imageChartStorage.caBundleSecretName -}}
{{- end -}}
{{- end -}}
