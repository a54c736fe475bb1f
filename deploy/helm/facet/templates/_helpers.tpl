{{- define "facet.selector" -}}
app.kubernetes.io/name: {{ .Values.name }}
{{- end }}

{{- define "facet.labels" -}}
{{ include "facet.selector" . }}
app.kubernetes.io/part-of: facet
{{- end }}

{{- define "facet.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{/* What the settings and the model store say, as the environment has it. Numbers stay as they were written: 1e+06 is none. */}}
{{- define "facet.settings" -}}
{{- $all := dict }}
{{- if eq .Values.modelStore.kind "volume" }}
{{- $_ := set $all "FACET_MODEL_STORE" "/models" }}
{{- else if eq .Values.modelStore.kind "s3" }}
{{- $_ := set $all "FACET_MODEL_STORE" (required "modelStore.s3.address is missing" .Values.modelStore.s3.address) }}
{{- $_ := set $all "FACET_MODEL_CACHE" "/cache" }}
{{- end }}
{{- if .Values.tls.secret }}
{{- $_ := set $all "FACET_TLS_CERTIFICATE" "/tls/tls.crt" }}
{{- $_ := set $all "FACET_TLS_KEY" "/tls/tls.key" }}
{{- end }}
{{- range $name, $value := .Values.settings }}
{{- if kindIs "slice" $value }}
{{- $_ := set $all $name (join "," $value) }}
{{- else if kindIs "string" $value }}
{{- $_ := set $all $name $value }}
{{- else if not (kindIs "invalid" $value) }}
{{- $_ := set $all $name (toJson $value) }}
{{- end }}
{{- end }}
{{- toYaml $all }}
{{- end }}

{{- define "facet.scheme" -}}
{{- if or (eq (toString .Values.settings.FACET_TLS) "true") .Values.tls.secret .Values.settings.FACET_TLS_CERTIFICATE }}HTTPS{{ else }}HTTP{{ end }}
{{- end }}

{{- define "facet.probe" -}}
httpGet:
  path: {{ .path }}
  port: http
  {{- if eq .scheme "HTTPS" }}
  scheme: HTTPS
  {{- end }}
{{- end }}

{{/* What the world may ask for, of an HTTPRoute and of an Ingress: not /metrics, nor /model/reload. */}}
{{- define "facet.paths" -}}
- {type: Exact, value: /}
- {type: PathPrefix, value: /page}
- {type: Exact, value: /sw.js}
- {type: PathPrefix, value: /predict}
- {type: PathPrefix, value: /compat}
- {type: PathPrefix, value: /v2}
- {type: Exact, value: /ping}
- {type: Exact, value: /invocations}
- {type: PathPrefix, value: /health}
- {type: Exact, value: /model}
- {type: PathPrefix, value: /docs}
- {type: PathPrefix, value: /static-offline-docs}
- {type: Exact, value: /openapi.json}
{{- end }}

{{- define "facet.behavior" -}}
scaleUp:
  stabilizationWindowSeconds: 0
  selectPolicy: Max
  policies:
    - type: Percent
      value: 100
      periodSeconds: 30
    - type: Pods
      value: 2
      periodSeconds: 30
scaleDown:
  stabilizationWindowSeconds: 300
  policies:
    - type: Pods
      value: 1
      periodSeconds: 60
{{- end }}

{{/* An amount of storage in mebibytes. */}}
{{- define "facet.mebibytes" -}}
{{- $amount := toString . }}
{{- $factor := get (dict "Mi" 1 "Gi" 1024 "Ti" 1048576) (regexFind "[A-Za-z]*$" $amount) }}
{{- if not (and $factor (regexMatch "^[0-9]+[A-Z]i$" $amount)) }}
{{- fail (printf "%s: a cache, and ephemeral-storage beside it, are whole numbers of Mi, Gi or Ti" $amount) }}
{{- end }}
{{- mul (regexFind "^[0-9]+" $amount) $factor }}
{{- end }}

{{/* Copies of models count as storage of the pod, which is evicted where it takes more than its limit. */}}
{{- define "facet.resources" -}}
{{- $resources := deepCopy .Values.resources }}
{{- if eq .Values.modelStore.kind "s3" }}
{{- range $amounts := $resources }}
{{- with index $amounts "ephemeral-storage" }}
{{- $both := add (include "facet.mebibytes" .) (include "facet.mebibytes" $.Values.modelStore.s3.cache) }}
{{- $_ := set $amounts "ephemeral-storage" (printf "%dMi" $both) }}
{{- end }}
{{- end }}
{{- end }}
{{- toYaml $resources }}
{{- end }}

{{/* How long what leads here has to wait: for a body, a photo or a batch, and 5 s more. */}}
{{- define "facet.patience" -}}
{{- $body := hasKey .Values.settings "FACET_BODY_TIMEOUT_S" | ternary .Values.settings.FACET_BODY_TIMEOUT_S 15 | float64 }}
{{- $photo := hasKey .Values.settings "FACET_DEADLINE_S" | ternary .Values.settings.FACET_DEADLINE_S 10 | float64 }}
{{- $batch := hasKey .Values.settings "FACET_BATCH_DEADLINE_S" | ternary .Values.settings.FACET_BATCH_DEADLINE_S 55 | float64 }}
{{- addf $body (maxf $photo $batch) 5 | ceil | int }}s
{{- end }}
