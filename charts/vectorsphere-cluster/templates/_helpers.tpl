{{- define "cluster.name" -}}
{{- .Values.name | default .Release.Name -}}
{{- end -}}

{{/* The image of the test; empty: there is none. */}}
{{- define "cluster.testImage" -}}
{{- $image := .Values.spec.image | default dict -}}
{{- if .Values.test.image -}}
{{- .Values.test.image -}}
{{- else if $image.digest -}}
{{- with $image.repository -}}{{- printf "%s@%s" . $image.digest -}}{{- end -}}
{{- else if $image.repository -}}
{{- printf "%s:%s" $image.repository ($image.tag | default .Values.spec.version) -}}
{{- end -}}
{{- end -}}

{{/* The Secret with the API keys. */}}
{{- define "cluster.keys" -}}
{{- $auth := .Values.spec.auth | default dict -}}
{{- $secret := $auth.secret | default dict -}}
{{- $secret.name | default (printf "%s-auth" (include "cluster.name" .)) -}}
{{- end -}}
