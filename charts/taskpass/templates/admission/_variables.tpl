{{/* Who asks, as a stamp. */}}
{{- define "taskpass.userVariable" -}}
- name: user
  expression: >-
    {"username": dyn(request.userInfo.username), "uid": dyn(request.userInfo.?uid.orValue('')), "groups": dyn(request.userInfo.?groups.orValue([]).map(g, g))}
{{- end }}
{{/* Who asks, and whether the request creates a task or changes what it says (all but the phase and the stamps). */}}
{{- define "taskpass.taskVariables" -}}
- name: creating
  expression: request.operation == 'CREATE'
{{ include "taskpass.userVariable" . }}
- name: said
  expression: "dyn(object.spec).map(k, k).filter(k, !(k in ['phase', 'requester', 'changedBy']))"
- name: saidBefore
  expression: "variables.creating ? [] : dyn(oldObject.spec).map(k, k).filter(k, !(k in ['phase', 'requester', 'changedBy']))"
- name: changed
  expression: >-
    variables.creating || variables.said.exists(k, !(k in variables.saidBefore)) ||
    variables.saidBefore.exists(k, !(k in variables.said) || dyn(object.spec)[k] != dyn(oldObject.spec)[k])
{{- end }}
