{{/*
The parts of a pod, for this chart and for yours: with this chart as a dependency, for example
  initContainers: [{{ "{{" }} include "understudy.sidecar" .Subcharts.understudy | fromYaml | toJson {{ "}}" }}]
*/}}

{{/*
What the chart makes is called by the release where the pods are its own, so that two fit into one namespace. Pods of
yours have the agent's container as `understudy inject` knows it: with the ConfigMap and the Secret `understudy`.
*/}}
{{- define "understudy.name" -}}
{{- if .Values.miner.enabled }}{{ .Release.Name }}-{{ end }}understudy
{{- end -}}

{{/* The pods that all else is about. */}}
{{- define "understudy.selector" -}}
matchLabels:
  understudy/agent: enabled
  {{- if .Values.miner.enabled }}
  app.kubernetes.io/instance: {{ .Release.Name }}
  {{- end }}
{{- end -}}

{{/* A digest says exactly which image; then the tag is for people. */}}
{{- define "understudy.image" -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- with .Values.image.digest }}@{{ . }}{{ end }}
{{- end -}}

{{/* The port of httpListen. */}}
{{- define "understudy.httpPort" -}}
{{ regexFind "[0-9]+$" .Values.httpListen }}
{{- end -}}

{{/* The container: files/sidecar.yaml, as the values want it. */}}
{{- define "understudy.sidecar" -}}
{{- $sidecar := .Files.Get "files/sidecar.yaml" | fromYaml -}}
{{- if not $sidecar.name -}}
{{- fail "understudy.sidecar: the scope is this chart's own, in yours .Subcharts.understudy" -}}
{{- end -}}
{{- if and (not .Values.classic) (semverCompare "<1.29.0-0" .Capabilities.KubeVersion.Version) -}}
{{- /* It would be taken for an init container that never ends, and hold the pod back. */ -}}
{{- fail (printf "Kubernetes %s has no native sidecars (1.29): set classic=true" .Capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- $_ := set $sidecar "image" (include "understudy.image" .) -}}
{{- range $sidecar.envFrom }}
{{- range $from := . }}{{ $_ := set $from "name" (include "understudy.name" $) }}{{ end }}
{{- end -}}
{{- range $sidecar.env }}
{{- if eq .name "UNDERSTUDY_HTTP_LISTEN" }}{{ $_ := set . "value" $.Values.httpListen }}{{ end }}
{{- end -}}
{{- range $sidecar.ports }}{{ $_ := set . "containerPort" (include "understudy.httpPort" $ | int) }}{{ end -}}
{{- with .Values.image.pullPolicy }}{{ $_ := set $sidecar "imagePullPolicy" . }}{{ end -}}
{{- with .Values.resources }}{{ $_ := set $sidecar "resources" . }}{{ end -}}
{{- if .Values.classic }}{{ $_ := unset $sidecar "restartPolicy" }}{{ end -}}
{{- if not .Values.readinessProbe }}{{ $_ := unset $sidecar "readinessProbe" }}{{ end -}}
{{- with include "understudy.password" . | fromYaml -}}
{{- $_ := set $sidecar "env" (append $sidecar.env .) -}}
{{- end -}}
{{- toYaml $sidecar -}}
{{- end -}}

{{/* Redis' password from a Secret of yours. */}}
{{- define "understudy.password" -}}
{{- with .Values.existingSecret.name -}}
name: UNDERSTUDY_REDIS_PASSWORD
valueFrom:
  secretKeyRef:
    name: {{ . }}
    key: {{ $.Values.existingSecret.key }}
{{- end -}}
{{- end -}}

{{/* The volume of the socket. */}}
{{- define "understudy.volume" -}}
name: understudy
emptyDir:
  medium: Memory
  sizeLimit: 1Mi
{{- end -}}

{{/* In the miner's container. */}}
{{- define "understudy.minerEnv" -}}
name: UNDERSTUDY_GRPC_ADDR
value: unix:/run/understudy/grpc.sock
{{- end -}}
{{- define "understudy.minerVolumeMount" -}}
name: understudy
mountPath: /run/understudy
{{- end -}}

{{/* The pod's: so that a miner of another user may open the socket, whose mode is 0660. */}}
{{- define "understudy.podSecurityContext" -}}
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
{{- end -}}

{{/* Of the miner's pods, and what its workload selects them by. */}}
{{- define "understudy.minerSelector" -}}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: miner
{{- end -}}

{{- define "understudy.serviceAccount" -}}
{{- if .Values.miner.serviceAccount.create -}}
{{ default (printf "%s-miner" .Release.Name) .Values.miner.serviceAccount.name }}
{{- else -}}
{{ .Values.miner.serviceAccount.name }}
{{- end -}}
{{- end -}}

{{- define "understudy.labels" -}}
app.kubernetes.io/name: understudy
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}
