{{/*
nginx in each core pod (core.accelerate): it takes the requests, passes them on to core in the same pod, and sends the
files that core names. What it forwards is believed by core, so it drops what an address that is not of trustedProxies
says of forwarding.
*/}}
{{- define "seawall.accelerate.config" -}}
{{- $v := .Values -}}
{{- $scheme := ternary "https" "http" (eq (include "seawall.tls.inside" .) "true") -}}
{{- $root := $v.persistence.imageChartStorage.filesystem.rootdirectory | trimSuffix "/" -}}
daemon off;
pid /tmp/nginx.pid;
error_log stderr warn;
worker_processes 2;
events {
    worker_connections 8192;
}
http {
    access_log off;
    server_tokens off;
    client_body_temp_path /tmp/client_body;
    proxy_temp_path /tmp/proxy;
    fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi;
    scgi_temp_path /tmp/scgi;

    upstream seawall {
        server 127.0.0.1:8080;
        keepalive 64;
    }

    geo $seawall_trusted {
        default 0;
        {{- range $v.trustedProxies }}
        {{ . }} 1;
        {{- end }}
    }
    map $seawall_trusted $seawall_for {
        0 $remote_addr;
        1 $proxy_add_x_forwarded_for;
    }
    map $seawall_trusted $seawall_proto {
        0 $scheme;
        1 $http_x_forwarded_proto;
    }
    map $seawall_trusted $seawall_host {
        0 "";
        1 $http_x_forwarded_host;
    }

    server {
        {{- $listen := ternary "[::]:8081 ipv6only=off" "8081" (not (empty (include "seawall.ipv6" .))) }}
        listen {{ $listen }}{{ ternary " ssl" "" (eq $scheme "https") }};
        {{- if eq $scheme "https" }}
        ssl_certificate /etc/seawall/tls/tls.crt;
        ssl_certificate_key /etc/seawall/tls/tls.key;
        {{- end }}
        # A pull that lacks 1,024 chunks of a layer names them all in one header (24 KiB).
        large_client_header_buffers 4 32k;
        keepalive_timeout 75s;

        # Blobs have any size and pass through as they come.
        client_max_body_size 0;
        proxy_request_buffering off;
        proxy_buffering off;
        proxy_max_temp_file_size 0;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-For $seawall_for;
        proxy_set_header X-Forwarded-Proto $seawall_proto;
        proxy_set_header X-Forwarded-Host $seawall_host;
        proxy_set_header Forwarded "";
        proxy_set_header X-Seawall-Accelerate $seawall_accelerate;
        proxy_connect_timeout 2s;
        proxy_read_timeout 900s;
        proxy_send_timeout 900s;

        location / {
            set $seawall_accelerate nginx;
            proxy_pass {{ $scheme }}://seawall;
        }
{{ .Files.Get "files/accelerate.conf" | replace "/STORAGE_ROOT" $root | replace "proxy_pass http:" (printf "proxy_pass %s:" $scheme) | trim | indent 8 }}
    }
}
{{- end -}}

{{/* The container. */}}
{{- define "seawall.accelerate.container" -}}
{{- $a := .Values.core.accelerate -}}
- name: nginx
  image: {{ printf "%s:%s" $a.image.repository $a.image.tag }}
  imagePullPolicy: {{ .Values.imagePullPolicy }}
  command: [nginx, -c, /etc/seawall/nginx.conf, -e, stderr]
  securityContext:
    {{- toYaml .Values.containerSecurityContext | nindent 4 }}
  ports:
    - name: http
      containerPort: 8081
  lifecycle:
    preStop:
      # It passes requests on for as long as core takes some.
      exec:
        command: [sleep, "10"]
  readinessProbe:
    tcpSocket:
      port: http
    periodSeconds: 3
  {{- with $a.resources }}
  resources:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  volumeMounts:
    - name: config
      mountPath: /etc/seawall/nginx.conf
      subPath: nginx.conf
      readOnly: true
    - name: nginx-tmp
      mountPath: /tmp
    - name: registry
      mountPath: {{ include "seawall.storage.mount" . }}
      readOnly: true
      {{- with .Values.persistence.persistentVolumeClaim.registry.subPath }}
      subPath: {{ . }}
      {{- end }}
    {{- if include "seawall.tls.inside" . }}
    - name: tls
      mountPath: /etc/seawall/tls
      readOnly: true
    {{- end }}
{{- end -}}
