{{/* seawall.yml: everything that is no secret; secrets come as environment variables and files. */}}
{{- define "seawall.config" -}}
{{- $v := .Values -}}
{{- $embedded := eq $v.database.type "embedded" -}}
{{- $http := dict "host" "0.0.0.0" "port" 8080 "workers" (int $v.core.workers) "drain_seconds" (max 5 (sub (int $v.core.terminationGracePeriodSeconds) 15)) -}}
{{- if include "seawall.tls.inside" . -}}
{{- $_ := set $http "tls_certificate" "/etc/seawall/tls/tls.crt" -}}
{{- $_ := set $http "tls_key" "/etc/seawall/tls/tls.key" -}}
{{- end -}}
{{- with $v.trustedProxies -}}
{{- $_ := set $http "trusted_proxies" . -}}
{{- end -}}
{{- $database := dict "pool_size" (int $v.database.maxOpenConns) -}}
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
      "log" (dict "level" $v.logLevel) -}}
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
{{- if $v.caSecretName -}}
{{- $_ := set $config "ca_download" "/etc/seawall/ca-download" -}}
{{- end -}}
{{- with $keys -}}
{{- $_ := set $config "keys" . -}}
{{- end -}}
{{- if ne $v.redis.type "none" -}}
{{- $_ := set $config "redis" (include "seawall.config.redis" . | fromYaml) -}}
{{- end -}}
{{- toYaml (mustMergeOverwrite $config (deepCopy $v.config)) -}}
{{- end -}}
