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

{{/* The Secret whose ca.crt is the authority of the certificate that gateways show. */}}
{{- define "cluster.authority" -}}
{{- $tls := .Values.spec.tls | default dict -}}
{{- if eq (default "SelfSigned" $tls.mode) "CertManager" -}}
{{- printf "%s-gateway-serving-tls" (include "cluster.name" .) -}}
{{- else if eq (default "SelfSigned" $tls.mode) "Secret" -}}
{{- $tls.secretName -}}
{{- else -}}
{{- printf "%s-gateway-tls" (include "cluster.name" .) -}}
{{- end -}}
{{- end -}}

{{/* The Secret with a certificate that gateways let in; empty: they ask for none. */}}
{{- define "cluster.client" -}}
{{- $tls := .Values.spec.tls | default dict -}}
{{- if ne (default "Disabled" $tls.clientAuth) "Disabled" -}}
{{- printf "%s-client-tls" (include "cluster.name" .) -}}
{{- end -}}
{{- end -}}
