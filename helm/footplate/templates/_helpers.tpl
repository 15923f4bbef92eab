{{- /* At most 42 characters: with the longest suffix, -dashboard-namespaces, a name has 63. */ -}}
{{- define "footplate.name" -}}
{{- $name := ternary .Release.Name (printf "%s-footplate" .Release.Name) (contains "footplate" .Release.Name) -}}
{{- if gt (len $name) 42 -}}
{{- printf "%s-%s" ($name | trunc 33 | trimSuffix "-") ($name | sha256sum | trunc 8) -}}
{{- else -}}
{{- $name -}}
{{- end -}}
{{- end }}

{{- /* What all pods of a release have, and no other pod of its namespace. */ -}}
{{- define "footplate.instance" -}}
app.kubernetes.io/name: footplate
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "footplate.selector" -}}
{{ include "footplate.instance" . }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "footplate.labels" -}}
{{ include "footplate.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: footplate
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "footplate.subject" -}}
- kind: ServiceAccount
  name: {{ include "footplate.name" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}

{{- define "footplate.image" -}}
{{- with .Values.image.digest -}}
{{ $.Values.image.repository }}@{{ . }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- /* What the operator's pods and the test's have in common: they keep the Pod Security Standard `restricted`. */ -}}
{{- define "footplate.pod" -}}
serviceAccountName: {{ include "footplate.name" . }}
automountServiceAccountToken: true   # the ServiceAccount itself gives it to nobody
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
securityContext:
  runAsNonRoot: true
  {{- with .Values.podSecurityContext }}
  {{- with .runAsUser }}
  runAsUser: {{ int64 . }}
  {{- end }}
  {{- with .runAsGroup }}
  runAsGroup: {{ int64 . }}
  {{- end }}
  {{- end }}
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "footplate.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}
