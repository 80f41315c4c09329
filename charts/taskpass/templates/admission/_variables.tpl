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
- name: pod
  expression: "request.userInfo.?extra[?'authentication.kubernetes.io/pod-uid'].orValue([])"
- name: taskUser
  expression: >-
    variables.pod.size() != 1 ? variables.user : {"username": variables.user["username"], "uid": variables.user["uid"],
    "groups": variables.user["groups"], "podUID": dyn(variables.pod[0])}
- name: said
  expression: "dyn(object.spec).map(k, k).filter(k, !(k in ['phase', 'requester', 'changedBy', 'changers']))"
- name: saidBefore
  expression: "variables.creating ? [] : dyn(oldObject.spec).map(k, k).filter(k, !(k in ['phase', 'requester', 'changedBy', 'changers']))"
- name: changed
  expression: >-
    variables.creating || variables.said.exists(k, !(k in variables.saidBefore)) ||
    variables.saidBefore.exists(k, !(k in variables.said) || dyn(object.spec)[k] != dyn(oldObject.spec)[k])
- name: made
  expression: "variables.creating && request.userInfo.username == '{{ include "taskpass.operator" . }}' && dyn(object.spec).?templateRef.hasValue()"
- name: changersBefore
  expression: "variables.creating ? dyn([]) : dyn(oldObject.spec).?changers.orValue(dyn([]))"
- name: moved
  expression: "!variables.creating && dyn(object.spec).?phase != dyn(oldObject.spec).?phase"
- name: changers
  expression: >-
    variables.made ? dyn(object.spec).?changers.orValue(dyn([])) : (variables.changed || variables.moved) && !variables.changersBefore.exists(name, name == request.userInfo.username)
      ? dyn(variables.changersBefore + [dyn(request.userInfo.username)]) : variables.changersBefore
{{- end }}
