"""What a role grants is said in words that kubectl's users know."""

from taskpass.providers.kubernetes.words import in_words

READ = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}


def test_verbs_and_resources_are_named_as_kubectl_does() -> None:
    jobs = {"apiGroups": ["batch"], "resources": ["jobs", "jobs/status"], "verbs": ["get"]}

    assert in_words([READ, jobs]) == "get, list configmaps; get jobs.batch, jobs/status.batch"


def test_names_are_said_where_a_rule_is_for_some_objects_only() -> None:
    assert in_words([{**READ, "resourceNames": ["a", "b"]}]) == "get, list configmaps named a, b"


def test_of_many_rules_the_first_three_are_said_and_the_rest_counted() -> None:
    assert in_words([READ] * 5) == "; ".join([*["get, list configmaps"] * 3, "and 2 more rules"])


def test_paths_that_are_no_resources_count_in_no_namespace() -> None:
    assert in_words([{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]) == ""
