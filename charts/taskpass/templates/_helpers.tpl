{{/* Names are fixed: the admission policies are of the whole cluster, so there is one installation in it. */}}
{{- define "taskpass.grantsNamespace" -}}taskpass-grants{{- end }}
{{/* The Secret of the signing key: the generation's own, and with the one before it as a list. */}}
{{- define "taskpass.signingKeyOf" -}}
taskpass-signing-key{{ if gt (int .) 1 }}-{{ int . }}{{ end }}
{{- end }}
{{- define "taskpass.signingKey" -}}{{ include "taskpass.signingKeyOf" .Values.signingKeyGeneration }}{{- end }}
{{- define "taskpass.signingKeys" -}}
{{- $now := int .Values.signingKeyGeneration -}}
[{{ include "taskpass.signingKeyOf" $now }}{{ if gt $now 1 }}, {{ include "taskpass.signingKeyOf" (sub $now 1) }}{{ end }}]
{{- end }}
{{- define "taskpass.releaseConfigMap" -}}taskpass-release{{- end }}

{{/* The operator's user name, by which every admission policy knows it. */}}
{{- define "taskpass.operator" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ .Values.serviceAccount.name }}
{{- end }}

{{- define "taskpass.selectorLabels" -}}
app.kubernetes.io/name: taskpass
app.kubernetes.io/component: operator
{{- end }}

{{- define "taskpass.labels" -}}
app.kubernetes.io/name: taskpass
app.kubernetes.io/instance: {{ .Release.Name | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: taskpass
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "taskpass.image" -}}
{{- with .Values.image -}}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{- define "taskpass.claimName" -}}
{{ .Values.ledger.existingClaim | default "taskpass-ledger" }}
{{- end }}

{{/* The servers of provider PostgreSQL as the operator's setting has them: files in the place of Secrets. */}}
{{- define "taskpass.postgresqlServers" -}}
{{- $all := dict }}
{{- range $name, $given := . }}
{{- $files := printf "/etc/taskpass/postgresql/%s" $name }}
{{- $server := merge (dict "caFile" (printf "%s/ca.crt" $files)) (omit $given "secretName" "authentication") }}
{{- if eq ($given.authentication | default "Password") "Certificate" }}
{{- $server = merge $server (dict "certificateFile" (printf "%s/tls.crt" $files) "keyFile" (printf "%s/tls.key" $files)) }}
{{- else }}
{{- $server = merge $server (dict "passwordFile" (printf "%s/password" $files)) }}
{{- end }}
{{- $_ := set $all $name $server }}
{{- end }}
{{- toJson $all }}
{{- end }}

{{/* Every setting that the operator gets; the names are those of its settings (TASKPASS_ and the field's name). */}}
{{- define "taskpass.env" -}}
- name: TASKPASS_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: TASKPASS_TENANTS
  value: {{ keys .Values.tenants | sortAlpha | toJson | quote }}
- name: TASKPASS_TARGETS
  value: {{ .Values.targets | toJson | quote }}
- name: TASKPASS_TOKEN_AUDIENCES
  value: {{ .Values.tokenAudiences | toJson | quote }}
- name: TASKPASS_HARMLESS_WRITES
  value: {{ .Values.harmlessWrites | toJson | quote }}
- name: TASKPASS_CONTROLLERS
  value: {{ .Values.controllers | toJson | quote }}
{{- with .Values.postgresql.servers }}
- name: TASKPASS_POSTGRESQL_SERVERS
  value: {{ include "taskpass.postgresqlServers" . | quote }}
{{- end }}
{{- with .Values.postgresql.retired }}
- name: TASKPASS_POSTGRESQL_RETIRED
  value: {{ toJson . | quote }}
{{- end }}
{{- range $name, $_ := .Values.postgresql.retired }}
{{- if hasKey $.Values.postgresql.servers $name }}
{{- fail (printf "postgresql.retired: server '%s' is listed in postgresql.servers as well" $name) }}
{{- end }}
{{- end }}
- name: TASKPASS_MOUNT_PATH
  value: {{ .Values.mountPath | quote }}
- name: TASKPASS_AUDIENCE
  value: {{ .Values.audience | quote }}
- name: TASKPASS_LEDGER_PATH
  value: /var/lib/taskpass/ledger.db
- name: TASKPASS_SIGNING_KEY_GENERATION
  value: {{ .Values.signingKeyGeneration | quote }}
{{- if .Values.readApi.tlsSecretName }}
- name: TASKPASS_READ_API_TLS_DIRECTORY
  value: /etc/taskpass/read-api
{{- end }}
{{- with .Values.witnessPolicy }}
- name: TASKPASS_WITNESS_POLICY
  value: {{ . | quote }}
{{- end }}
{{- with .Values.clusterServer }}
- name: TASKPASS_CLUSTER_SERVER
  value: {{ . | quote }}
{{- end }}
- name: TASKPASS_RENEWAL_OVERLAP_SECONDS
  value: {{ .Values.renewalOverlapSeconds | quote }}
- name: TASKPASS_LEDGER_TASK_BURST_KIB
  value: {{ .Values.ledger.taskBurstKiB | int64 | quote }}
- name: TASKPASS_LEDGER_TASK_KIB_PER_DAY
  value: {{ .Values.ledger.taskKiBPerDay | int64 | quote }}
- name: TASKPASS_LEDGER_NAMESPACE_BURST_KIB
  value: {{ .Values.ledger.namespaceBurstKiB | int64 | quote }}
- name: TASKPASS_LEDGER_NAMESPACE_KIB_PER_DAY
  value: {{ .Values.ledger.namespaceKiBPerDay | int64 | quote }}
- name: TASKPASS_LOG_LEVEL
  value: {{ .Values.logLevel | quote }}
{{- end }}

{{/* Where the operator runs: what the values say, and away from the pods of enrolled namespaces. */}}
{{- define "taskpass.affinity" -}}
{{- $affinity := deepCopy .Values.affinity -}}
{{- if and .Values.keepOffTenantNodes .Values.tenants -}}
{{- $required := "requiredDuringSchedulingIgnoredDuringExecution" -}}
{{- $apart := dict "topologyKey" "kubernetes.io/hostname" "labelSelector" dict "namespaces" (keys .Values.tenants | sortAlpha) -}}
{{- $anti := get $affinity "podAntiAffinity" | default dict -}}
{{- $_ := set $anti $required (append (get $anti $required | default list) $apart) -}}
{{- $_ := set $affinity "podAntiAffinity" $anti -}}
{{- end -}}
{{- toYaml $affinity -}}
{{- end }}

{{/* What a container of ours may do: nothing beyond running. */}}
{{- define "taskpass.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}
{{- define "taskpass.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* A binding that makes an admission policy count everywhere: (list $ name). No policy has a switch. */}}
{{- define "taskpass.validatingBinding" -}}
{{ include "taskpass.bindingThat" (list (index . 0) (index . 1) "Deny") }}
{{- end }}
{{/* The same for one that warns and refuses nothing. */}}
{{- define "taskpass.warningBinding" -}}
{{ include "taskpass.bindingThat" (list (index . 0) (index . 1) "Warn") }}
{{- end }}
{{- define "taskpass.bindingThat" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ index . 1 }}
  labels: {{- include "taskpass.labels" (index . 0) | nindent 4 }}
spec:
  policyName: {{ index . 1 }}
  validationActions: [{{ index . 2 }}]
{{- end }}
{{- define "taskpass.mutatingBinding" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata:
  name: {{ index . 1 }}
  labels: {{- include "taskpass.labels" (index . 0) | nindent 4 }}
spec:
  policyName: {{ index . 1 }}
{{- end }}

{{/* Names of all policies: what the operator may read of them, to see at its start that they are there. */}}
{{- define "taskpass.mutatingPolicies" -}}
[taskpass-inject, taskpass-inject-templates, taskpass-stamp-approvals, taskpass-stamp-classes, taskpass-stamp-kill-switches, taskpass-stamp-pods, taskpass-stamp-tasks, taskpass-stamp-tokens, taskpass-stamp-workloads]
{{- end }}
{{- define "taskpass.validatingPolicies" -}}
[taskpass-approvals, taskpass-credentials, taskpass-delegation, taskpass-enrolled-pods, taskpass-grants, taskpass-grants-namespace, taskpass-identity-tokens, taskpass-kill-switches, taskpass-operator-classes, taskpass-operator-grants, taskpass-operator-pods,
 taskpass-operator-secrets, taskpass-operator-tasks, taskpass-operator-tokens, taskpass-pod-bindings, taskpass-pod-tokens, taskpass-pods, taskpass-revisions, taskpass-secret-deletion, taskpass-secret-references, taskpass-stamps,
 taskpass-status, taskpass-template-pods, taskpass-use, taskpass-workloads]
{{- end }}

{{/* That an update changes no more of an object's metadata than our finalizer, as CEL. */}}
{{- define "taskpass.onlyFinalizer" -}}
['labels', 'annotations', 'ownerReferences'].all(k, dyn(object.metadata)[?k] == dyn(oldObject.metadata)[?k]) &&
      object.metadata.?finalizers.orValue([]).filter(f, f != 'taskpass.dev/revoke') ==
      oldObject.metadata.?finalizers.orValue([]).filter(f, f != 'taskpass.dev/revoke')
{{- end }}

{{/* That the operator serves the namespace of the request, as CEL: it has its rights there, whoever gave them. */}}
{{- define "taskpass.served" -}}
authorizer.serviceAccount('{{ .Release.Namespace }}', '{{ .Values.serviceAccount.name }}').group('').resource('secrets').namespace(request.namespace).check('create').allowed()
{{- end }}
{{/* That the namespace of the request is enrolled, as CEL: it is on the list, or is served. On the list it stays enrolled when its administrator takes the
     operator's rights away there, and could give them back. */}}
{{- define "taskpass.enrolled" -}}
request.namespace in {{ keys .Values.tenants | sortAlpha | toJson }} ||
      {{ include "taskpass.served" . }}
{{- end }}

{{/* The value of the stamp on a pod, as CEL. `quote` escapes as JSON does. */}}
{{- define "taskpass.stamp" -}}
'{"username":' + strings.quote(request.userInfo.username) + ',"uid":' + strings.quote(request.userInfo.?uid.orValue('')) + '}'
{{- end }}

{{/* What the schema of the values cannot say. */}}
{{- define "taskpass.checkValues" -}}
{{- range $map := list "tenants" "targets" "formerTenants" "formerTargets" }}
{{- if hasKey (get $.Values $map) $.Release.Namespace }}
{{- fail (printf "%s must not hold %s, the operator's own namespace: its signing key is there" $map $.Release.Namespace) }}
{{- end }}
{{- end }}
{{- include "taskpass.checkForgotten" (list . "taskpass-tenant" "tenants" "formerTenants") }}
{{- include "taskpass.checkForgotten" (list . "taskpass-target" "targets" "formerTargets") }}
{{- end }}

{{/* A namespace that leaves a list must be named in the other, or what is owed there could not be taken back: (list $ binding now former).
     Helm can look only when it talks to a cluster; `helm template` cannot. */}}
{{- define "taskpass.checkForgotten" -}}
{{- $values := (index . 0).Values }}
{{- $binding := index . 1 }}{{ $now := index . 2 }}{{ $former := index . 3 }}
{{- range (lookup "rbac.authorization.k8s.io/v1" "RoleBinding" "" "").items }}
{{- if and (eq .metadata.name $binding) (not (hasKey (get $values $now) .metadata.namespace)) (not (hasKey (get $values $former) .metadata.namespace)) }}
{{- fail (printf "%s must hold %s, which leaves %s: what is owed there could not be taken back. Take it off once nothing is owed" $former .metadata.namespace $now) }}
{{- end }}
{{- end }}
{{- end }}
