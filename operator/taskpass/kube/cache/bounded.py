"""Objects as the caches keep them, as far as their namespace has room (`memory_limit.py`)."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import orjson

from taskpass.core.lifecycle.approval import TaskApproval
from taskpass.core.lifecycle.attestation import PodView
from taskpass.core.lifecycle.template import Template
from taskpass.core.model.key import Key
from taskpass.core.model.task import Task
from taskpass.kube.cache.convert import approval_from, pod_from, task_from, template_from
from taskpass.kube.cache.memory_limit import MOST_OF_OTHERS, TOO_MUCH, NamespaceMemory, NoRoom
from taskpass.kube.cache.reflector import key_of
from taskpass.kube.cache.trim import without_spec

OBJECT_BYTES = 512
"""What is kept of an object beside what it says: a small one takes memory as well."""
T = TypeVar("T")


class BoundedObjects:
    """Converts what a tenant can make any number of; `leave` says what is gone."""

    def __init__(self, tenants: Collection[str]) -> None:
        self._tenants = tenants
        self.memory = {
            "AgentTask": NamespaceMemory(),
            **{
                kind: NamespaceMemory(MOST_OF_OTHERS)
                for kind in ("AgentTaskTemplate", "TaskApproval", "pod")
            },
        }
        """By kind."""
        self.left_out: set[Key] = set()
        """Tasks for which there is no room."""

    def leave(self, kind: str, key: Key) -> None:
        """Take back what an object has that is gone; of a kind without bounds do nothing."""
        if kind in self.memory:
            self.memory[kind].leave(key)
        if kind == "AgentTask":
            self.left_out.discard(key)

    def task(self, obj: Mapping[str, Any]) -> Task:
        """Convert a task; where it is not served, or there is no room, without its spec."""
        key = key_of(obj)
        if key[0] not in self._tenants:
            return task_from(without_spec(obj))
        if self.memory["AgentTask"].take(key, len(orjson.dumps(obj["spec"]))):
            self.left_out.discard(key)
            return task_from(obj)
        self.memory["AgentTask"].leave(key)
        self.left_out.add(key)
        return replace(task_from(without_spec(obj)), left_out=TOO_MUCH.format(key[0]))

    def template(self, obj: Mapping[str, Any]) -> Template:
        """Convert a template; raise `NoRoom` where there is none."""
        return self._with_room("AgentTaskTemplate", obj, template_from)

    def approval(self, obj: Mapping[str, Any]) -> TaskApproval:
        """Convert an approval; raise `NoRoom` where there is none."""
        return self._with_room("TaskApproval", obj, approval_from)

    def pod(self, obj: Mapping[str, Any]) -> PodView:
        """Convert a pod with our label; raise `NoRoom` where there is none."""
        pod, memory = pod_from(obj), self.memory["pod"]
        texts = (*pod.images, *pod.labels, *pod.labels.values())
        if not memory.take((pod.namespace, pod.name), OBJECT_BYTES + sum(map(len, texts))):
            raise NoRoom("pod", pod.namespace, memory.most)
        return pod

    def _with_room(
        self, kind: str, obj: Mapping[str, Any], convert: Callable[[Mapping[str, Any]], T]
    ) -> T:
        key, memory = key_of(obj), self.memory[kind]
        served = key[0] in self._tenants
        if served and not memory.take(key, OBJECT_BYTES + len(orjson.dumps(obj["spec"]))):
            raise NoRoom(kind, key[0], memory.most)
        return convert(obj)
