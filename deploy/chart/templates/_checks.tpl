{{- /* What values.schema.json cannot say, in words. */ -}}
{{- define "scm-consumer.checks" -}}
{{- $settings := .Values.settings -}}
{{- if not (dig "kafka" "bootstrap_servers" "" $settings) }}
{{- fail "settings.kafka.bootstrap_servers: which brokers? Such as --set settings.kafka.bootstrap_servers=kafka-1:9092" }}
{{- end }}
{{- $listen := dig "ops" "listen" "" $settings }}
{{- if not (regexMatch "^(0\\.0\\.0\\.0|\\[::\\]):[1-9][0-9]*$" $listen) }}
{{- fail (printf "settings.ops.listen is %s: probes and Prometheus do not reach it; allowed is 0.0.0.0:PORT or [::]:PORT" ($listen | default "empty")) }}
{{- end }}
{{- if dig "kafka" "instance_id" "" $settings }}
{{- fail "settings.kafka.instance_id would be the same for all pods: with membership static each one takes its own name" }}
{{- end }}
{{- if dig "api" "token" "" $settings }}
{{- fail "settings.api.token is a secret, and the settings are a ConfigMap: make a Secret and name it in token.secret" }}
{{- end }}
{{- if dig "schema_registry" "password" "" $settings }}
{{- fail "settings.schema_registry.password is a secret, and the settings are a ConfigMap: name a Secret in secretSettings" }}
{{- end }}
{{- $client := include "scm-consumer.flat" (dict "prefix" "" "table" (dig "kafka" "client" dict $settings)) }}
{{- $refused := .Files.Get "files/refused-properties.yaml" | fromYaml }}
{{- range regexFindAll "(?m)^\"[^\"]+\"" $client -1 }}
{{- $name := trimAll "\"" . }}
{{- with get $refused $name }}
{{- fail (printf "settings.kafka.client: %s is refused: %s" $name .) }}
{{- end }}
{{- if and (regexMatch "token|password|passphrase|secret|key\\.pem|jaas|sasl\\.oauthbearer\\.config" $name) (not (regexMatch "[._]file$|\\.url$|\\.location$" $name)) }}
{{- fail (printf "settings.kafka.client: %s is a secret, and the settings are a ConfigMap: name a Secret under kafka.client.%s in secretSettings" $name $name) }}
{{- end }}
{{- end }}
{{- if and (eq .Values.autoscaling.by "keda") (not .Values.autoscaling.prometheus) }}
{{- fail "autoscaling.prometheus: where does KEDA find Prometheus? Such as http://prometheus-operated.monitoring.svc:9090" }}
{{- end }}
{{- if gt (int .Values.autoscaling.min) (int .Values.autoscaling.max) }}
{{- fail (printf "autoscaling.min is %v, which is above autoscaling.max (%v)" .Values.autoscaling.min .Values.autoscaling.max) }}
{{- end }}
{{- end -}}
