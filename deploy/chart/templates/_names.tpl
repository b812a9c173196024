{{- define "scm-consumer.name" -}}
{{- if contains "scm-consumer" .Release.Name -}}
{{ .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-scm-consumer" (.Release.Name | trunc 39 | trimSuffix "-") }}
{{- end -}}
{{- end -}}

{{- define "scm-consumer.selector" -}}
app.kubernetes.io/name: scm-consumer
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "scm-consumer.members" -}}
{{ include "scm-consumer.selector" . }}
app.kubernetes.io/component: consumer
{{- end -}}

{{- define "scm-consumer.labels" -}}
{{ include "scm-consumer.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end -}}

{{- define "scm-consumer.image" -}}
{{ .Values.image.repository }}
{{- if .Values.image.digest }}@{{ .Values.image.digest }}
{{- else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end -}}
