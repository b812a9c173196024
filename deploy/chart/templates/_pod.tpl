{{- /* A pod's spec. root: the chart's; arguments: of scm-consumer; member: it is the consumer. */ -}}
{{- define "scm-consumer.pod" -}}
{{- $values := .root.Values -}}
{{- $name := include "scm-consumer.name" .root -}}
{{- $own_token := not (dig "api" "token_file" "" $values.settings) -}}
serviceAccountName: {{ $name }}
automountServiceAccountToken: false
enableServiceLinks: false
# Not process 1, which would not end at a signal that comes before it can handle one.
shareProcessNamespace: true
{{- with $values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
containers:
  - name: {{ .container }}
    image: {{ include "scm-consumer.image" .root }}
    imagePullPolicy: {{ $values.image.pullPolicy }}
    args: {{ concat (list "-c" "/config/scm-consumer.toml") .arguments | toJson }}
    {{- if or .static $values.secretSettings }}
    env:
      {{- if .static }}
      - name: SCM_KAFKA__INSTANCE_ID
        valueFrom:
          fieldRef:
            fieldPath: metadata.name
      {{- end }}
      {{- range $setting, $from := $values.secretSettings }}
      {{- $parts := splitn "." 2 ($setting | replace "kafka.client." "kafka.client__") }}
      - name: {{ printf "SCM_%s__%s" $parts._0 $parts._1 | replace "." "_" | upper }}
        valueFrom:
          secretKeyRef:
            name: {{ $from.secret }}
            key: {{ $from.key }}
      {{- end }}
    {{- end }}
    {{- if .member }}
    ports:
      - name: ops
        containerPort: {{ include "scm-consumer.port" .root }}
    startupProbe:
      httpGet:
        path: /healthz
        port: ops
      periodSeconds: 2
      timeoutSeconds: 3
      failureThreshold: 30
    livenessProbe:
      httpGet:
        path: /healthz
        port: ops
      periodSeconds: 10
      timeoutSeconds: 5
      failureThreshold: 3
    readinessProbe:
      httpGet:
        path: /readyz
        port: ops
      periodSeconds: 5
      timeoutSeconds: 3
    {{- end }}
    resources:
      {{- .resources | nindent 6 }}
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities:
        drop: [ALL]
    volumeMounts:
      - name: settings
        mountPath: /config
        readOnly: true
      - name: scratch
        mountPath: /tmp
      {{- if $own_token }}
      - name: token
        mountPath: /secrets/token
        readOnly: true
      {{- end }}
      {{- range $folder, $_ := $values.files }}
      - name: file-{{ $folder }}
        mountPath: /files/{{ $folder }}
        readOnly: true
      {{- end }}
volumes:
  - name: settings
    configMap:
      name: {{ $name }}
  - name: scratch
    emptyDir:
      sizeLimit: {{ .scratch }}
  {{- if $own_token }}
  - name: token
    secret:
      secretName: {{ $values.token.secret }}
      defaultMode: 288  # 0440
  {{- end }}
  {{- range $folder, $from := $values.files }}
  - name: file-{{ $folder }}
    {{- if $from.secret }}
    secret:
      secretName: {{ $from.secret }}
      defaultMode: 288  # 0440
    {{- else }}
    configMap:
      name: {{ $from.configMap }}
    {{- end }}
  {{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if .member }}
terminationGracePeriodSeconds: {{ include "scm-consumer.grace" .root }}
affinity:
  {{- if $values.affinity }}
  {{- toYaml $values.affinity | nindent 2 }}
  {{- else }}
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels:
              {{- include "scm-consumer.members" .root | nindent 14 }}
  {{- end }}
{{- end }}
{{- end -}}
