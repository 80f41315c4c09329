{{/* Who asks, as a stamp. */}}
{{- define "taskpass.userVariable" -}}
- name: user
  expression: >-
    {"username": dyn(request.userInfo.username), "uid": dyn(request.userInfo.?uid.orValue('')), "groups": dyn(request.userInfo.?groups.orValue([]).map(g, g))}
{{- end }}
{{/* For which owner an object is made, as a stamp: kind and UID of the controller that it names; '' for none. */}}
{{- define "taskpass.ownersVariable" -}}
- name: owners
  expression: object.metadata.?ownerReferences.orValue([]).filter(o, o.?controller.orValue(false)).map(o, o.kind + '/' + o.uid)
- name: createdFor
  expression: "variables.owners.size() == 1 ? variables.owners[0] : ''"
{{- end }}
{{/* Whether a workload makes pods with a label of ours, as CEL: the name of a variable, which may be null. A Job, a ReplicaSet, a Deployment, a
     StatefulSet and a Rollout have one template, a CronJob has it in its Job's, a Sandbox says podTemplate, a JobSet has several Jobs. */}}
{{- define "taskpass.makesAgents" -}}
({{ . }} != null && has({{ . }}.spec) && ([{{ . }}.spec.?template, {{ . }}.spec.?jobTemplate.?spec.?template, {{ . }}.spec.?podTemplate] +
      {{ . }}.spec.?replicatedJobs.orValue([]).map(j, j.?template.?spec.?template))
      .exists(t, t.?metadata.?labels.orValue({}).exists(k, k in ['taskpass.dev/task', 'taskpass.dev/task-template'])))
{{- end }}
{{/* The kinds that are stamped. What changes status can change annotations as well, but not those of a custom resource: there the API server takes
     nothing but the status, so no stamp could be put on one that was made before these policies, and its controller could not say a word. */}}
{{- define "taskpass.workloads" -}}
- {apiGroups: [apps], apiVersions: [v1], resources: [deployments, replicasets, statefulsets], operations: [CREATE, UPDATE]}
- {apiGroups: [apps], apiVersions: [v1], resources: [deployments/status, replicasets/status, statefulsets/status], operations: [UPDATE]}
- {apiGroups: [batch], apiVersions: [v1], resources: [jobs, cronjobs], operations: [CREATE, UPDATE]}
- {apiGroups: [batch], apiVersions: [v1], resources: [jobs/status, cronjobs/status], operations: [UPDATE]}
- {apiGroups: [jobset.x-k8s.io], apiVersions: ['*'], resources: [jobsets], operations: [CREATE, UPDATE]}
- {apiGroups: [agents.x-k8s.io], apiVersions: ['*'], resources: [sandboxes], operations: [CREATE, UPDATE]}
- {apiGroups: [argoproj.io], apiVersions: ['*'], resources: [rollouts], operations: [CREATE, UPDATE]}
{{- end }}
{{/* What the stamps of a workload are to be. One whose pods had no label of ours before has no stamps that count: nobody kept them. Who changes
     the spec is added, each once; the Deployment's controller changes it for whoever sets the annotation of a rollback, which who may change the
     status can set as well. Names are quoted, one on each line, so that none can pass for another; past 32 there is one more, which says that
     there were others. */}}
{{- define "taskpass.workloadVariables" -}}
- name: creating
  expression: request.operation == 'CREATE'
{{ include "taskpass.ownersVariable" . }}
- name: before
  expression: >-
    variables.creating || !{{ include "taskpass.makesAgents" "oldObject" }} ? {} : oldObject.metadata.?annotations.orValue({})
- name: createdBy
  expression: >-
    variables.creating ? {{ include "taskpass.stamp" . }} : variables.before[?'taskpass.dev/created-by'].orValue('')
- name: createdForWhom
  expression: "variables.creating ? variables.createdFor : variables.before[?'taskpass.dev/created-for'].orValue('')"
- name: name
  expression: strings.quote(request.userInfo.username)
- name: changersBefore
  expression: >-
    variables.creating ? [] : variables.before[?'taskpass.dev/changers'].orValue('""').split('\n')
- name: changed
  expression: >-
    variables.creating || request.?subResource.orValue('') == '' && object.spec != oldObject.spec ||
      object.metadata.?annotations[?'deprecated.deployment.rollback.to'] != oldObject.metadata.?annotations[?'deprecated.deployment.rollback.to']
- name: changersAfter
  expression: >-
    variables.name in variables.changersBefore || variables.changersBefore.size() > 32 ? variables.changersBefore
      : variables.changersBefore + [variables.name]
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
