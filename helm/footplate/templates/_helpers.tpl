{{- define "footplate.name" -}}
{{- if contains "footplate" .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-footplate{{ end -}}
{{- end }}

{{- define "footplate.selector" -}}
app.kubernetes.io/name: footplate
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "footplate.labels" -}}
{{ include "footplate.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "footplate.subject" -}}
- kind: ServiceAccount
  name: {{ include "footplate.name" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}
