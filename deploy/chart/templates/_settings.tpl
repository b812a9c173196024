{{- /* The settings as JSON, with what the chart itself knows: where the token is. */ -}}
{{- define "scm-consumer.settings" -}}
{{- $settings := deepCopy .Values.settings -}}
{{- $api := $settings.api | default dict -}}
{{- if not $api.token_file -}}
{{- $_ := set $api "token_file" (printf "/secrets/token/%s" .Values.token.key) -}}
{{- end -}}
{{- $_ := set $settings "api" $api -}}
{{ toJson $settings }}
{{- end -}}

{{- /* JSON's texts, numbers and lists are TOML's. */ -}}
{{- define "scm-consumer.toml" -}}
{{- range $section, $keys := include "scm-consumer.settings" . | fromJson }}
[{{ $section }}]
{{- range $key, $value := $keys }}
{{- if not (or (kindIs "map" $value) (kindIs "invalid" $value)) }}
{{ $key }} = {{ toRawJson $value }}
{{- end }}
{{- end }}
{{- range $key, $value := $keys }}
{{- if and (kindIs "map" $value) $value }}

[{{ $section }}.{{ $key }}]
{{- include "scm-consumer.flat" (dict "prefix" "" "table" $value) }}
{{- end }}
{{- end }}
{{ end }}
{{- end -}}

{{- /* librdkafka's names hold dots, and may have been given as tables within tables. */ -}}
{{- define "scm-consumer.flat" -}}
{{- $prefix := .prefix -}}
{{- range $name, $value := .table }}
{{- $name := printf "%s%s" $prefix $name }}
{{- if kindIs "map" $value }}
{{- include "scm-consumer.flat" (dict "prefix" (printf "%s." $name) "table" $value) }}
{{- else if not (kindIs "invalid" $value) }}
{{ toRawJson $name }} = {{ toRawJson $value }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "scm-consumer.port" -}}
{{ regexFind "[0-9]+$" (dig "ops" "listen" "" .Values.settings) }}
{{- end -}}

{{- /* A stop takes settings.limits.stop_seconds at most; ten seconds are for the process itself. */ -}}
{{- define "scm-consumer.grace" -}}
{{- $stop := dig "limits" "stop_seconds" 80 .Values.settings -}}
{{ add (ceil $stop) 10 }}
{{- end -}}

{{- /* What is measured beside unsettled records, in MiB: docs/configuration.md, limits.max_unsettled_mib. */ -}}
{{- define "scm-consumer.memory" -}}
{{- $unsettled := dig "limits" "max_unsettled_mib" 64 .Values.settings -}}
{{ add 136 (ceil $unsettled) }}
{{- end -}}

{{- define "scm-consumer.resources" -}}
{{- $memory := include "scm-consumer.memory" . | int -}}
requests:
  cpu: 100m
  memory: {{ $memory }}Mi
  ephemeral-storage: 64Mi
limits:
  memory: {{ div (mul $memory 3) 2 }}Mi
  ephemeral-storage: 1Gi
{{- end -}}

{{- /* Ports of all addresses in the settings, DNS, and those that were named. */ -}}
{{- define "scm-consumer.ports" -}}
{{- $toml := include "scm-consumer.toml" . -}}
{{- $ports := dict "53" true -}}
{{- range splitList "," (dig "kafka" "bootstrap_servers" "" .Values.settings) }}
{{- $_ := set $ports (regexFind "[0-9]+$" (trim .) | default "9092") true -}}
{{- end }}
{{- range regexFindAll "https?://[^\"/?#]+" $toml -1 }}
{{- $implied := ternary "443" "80" (hasPrefix "https" .) -}}
{{- $_ := set $ports (regexFind ":[0-9]+$" . | trimPrefix ":" | default $implied) true -}}
{{- end }}
{{- range .Values.networkPolicy.ports }}
{{- $_ := set $ports (toString .) true -}}
{{- end }}
{{- range $port := keys $ports | sortAlpha }}
- {port: {{ $port }}, protocol: TCP}
{{- end }}
- {port: 53, protocol: UDP}
{{- end -}}
