{{/* The name of what the release makes. */}}
{{- define "operator.name" -}}
{{- if contains "vectorsphere-operator" .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-vectorsphere-operator" (.Release.Name | trunc 18 | trimSuffix "-") -}}
{{- end -}}
{{- end -}}

{{/* The name of what belongs to no namespace: two releases of one name may be in two of them. */}}
{{- define "operator.clusterName" -}}
{{- printf "%s:%s" .Release.Namespace (include "operator.name" .) -}}
{{- end -}}

{{- define "operator.account" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "operator.name" .) -}}
{{- else -}}
{{- required "serviceAccount.name: needed when serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "operator.selector" -}}
app.kubernetes.io/name: vectorsphere-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "operator.labels" -}}
{{ include "operator.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end -}}

{{- define "operator.repository" -}}
{{- required "image.repository: give the name of the image that you built; none is published" .Values.image.repository -}}
{{- end -}}

{{- define "operator.image" -}}
{{- $repository := include "operator.repository" . -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* The namespaces whose clusters are carried out, with scope `namespaces`. */}}
{{- define "operator.namespaces" -}}
{{- .Values.namespaces | default (list .Release.Namespace) | uniq | sortAlpha | toJson -}}
{{- end -}}

{{/* What the operator may do where it carries clusters out, and no more. */}}
{{- define "operator.rules" -}}
- apiGroups: [vectorsphere.io]
  resources: [vectorclusters]
  verbs: [get, list, watch, patch]
- apiGroups: [vectorsphere.io]
  resources: [vectorclusters/status]
  verbs: [patch]
- apiGroups: [vectorsphere.io]
  resources: [vectorcollections]
  verbs: [get, list, watch, patch]
- apiGroups: [vectorsphere.io]
  resources: [vectoropstasks]
  verbs: [get, list, watch, delete]
- apiGroups: [vectorsphere.io]
  resources: [vectorbackups, vectorbackupschedules, vectorrestores]
  verbs: [get, list, watch]
- apiGroups: [vectorsphere.io]
  resources:
    - vectorcollections/status
    - vectoropstasks/status
    - vectorbackups/status
    - vectorbackupschedules/status
    - vectorrestores/status
  verbs: [patch]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, create, patch, delete]
- apiGroups: [""]
  resources: [services]
  verbs: [create, patch]
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, create, patch]
- apiGroups: [apps]
  resources: [statefulsets, deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [controllerrevisions]
  verbs: [list, create, patch, delete]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
# What stands beside the pods, and goes when nobody asks for it any more.
- apiGroups: [""]
  resources: [serviceaccounts, configmaps]
  verbs: [get, list, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, create, patch, delete]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, create, patch, delete]
# Of other operators, where they are installed.
- apiGroups: [cert-manager.io]
  resources: [certificates]
  verbs: [get, list, create, patch, delete]
- apiGroups: [monitoring.coreos.com]
  resources: [servicemonitors, prometheusrules]
  verbs: [get, list, create, patch, delete]
{{- end -}}
