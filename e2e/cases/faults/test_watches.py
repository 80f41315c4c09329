"""What a watch does not tell is found out all the same: it stalls, breaks off, or is too old."""

from e2e.admission import TENANT, remove, task
from e2e.cases.faults.proxy import Proxy, Rule
from e2e.impersonate import thing
from e2e.stage import Stage, until


def test_a_watch_that_stalls_without_closing_is_replaced(
    stage: Stage, proxy: Proxy, name: str
) -> None:
    stage.begin_ready(name)
    token = stage.token(name)

    proxy.stall()
    stage.end(name)

    until(lambda: stage.reads(token) != 200, seconds=10)
    stage.wait_finished(name, "Succeeded")


def test_a_deletion_that_a_stalled_watch_kept_back_is_seen(
    stage: Stage, proxy: Proxy, name: str
) -> None:
    stage.begin_ready(name)

    proxy.stall()
    stage.alice.delete(task(name))

    stage.wait_gone(task(name))
    until(lambda: not stage.accounts())


def test_pods_that_end_while_watches_are_too_old_are_seen_by_the_next_list(
    stage: Stage, proxy: Proxy, name: str
) -> None:
    stage.begin_ready(name)
    token = stage.token(name)

    proxy.stall()
    stage.end(name)
    remove(stage.api, thing("v1", "Pod", TENANT, name))
    proxy.expired = True
    proxy.cut()

    until(lambda: stage.reads(token) != 200, seconds=10)
    proxy.heal()
    # Its end was never seen: it is gone, so nobody knows that it went well.
    stage.wait_finished(name, "Failed")


def test_a_watch_that_is_refused_takes_nothing_back_and_stops_issuing_at_once(
    stage: Stage, proxy: Proxy, name: str
) -> None:
    """An API server that has just started refuses whatever its caches do not know yet."""
    stage.begin_ready(name)
    token, held = stage.token(name), stage.task(name)["status"]["grants"]
    refused = Rule("WATCH", f"/namespaces/{TENANT}/pods$", status=403, times=1000)

    proxy.rules.append(refused)
    proxy.cut()
    until(lambda: refused.met >= 3)
    later = f"{name}-later"
    stage.begin(later)
    saying = "may not be read: The API server answered 403"
    stage.wait_condition(later, "Attested", "Unknown", "CheckFailed", saying=saying)

    assert stage.task(name)["status"]["grants"] == held
    assert stage.reads(token) == 200
    assert stage.secret(later) is None
    proxy.heal()
    stage.wait_ready(later)
    assert stage.task(name)["status"]["grants"] == held


def test_rights_that_stay_away_take_back_all_that_is_held_there(
    stage: Stage, proxy: Proxy, name: str
) -> None:
    stage.operator.stop()
    stage.operator.start(TASKPASS_FORBIDDEN_GRACE_SECONDS="1")
    stage.begin_ready(name)
    token = stage.token(name)

    proxy.rules.append(Rule("WATCH", f"/namespaces/{TENANT}/pods$", status=403, times=1000))
    proxy.cut()
    until(lambda: stage.reads(token) != 200)
    stage.wait_condition(name, "Attested", "Unknown", "NotEnrolled")
    proxy.heal()

    stage.wait_ready(name)
    assert stage.reads(token) != 200
    stage.operator.stop()
    stage.operator.start()


def test_watches_that_break_off_lose_nothing(stage: Stage, proxy: Proxy, name: str) -> None:
    names = [f"{name}-{n}" for n in range(5)]
    for each in names:
        proxy.cut()
        stage.begin(each)
    for each in names:
        stage.wait_ready(each)
        proxy.cut()
        stage.end(each)

    for each in names:
        stage.wait_finished(each, "Succeeded")
    stage.assert_holds(**{each.replace("-", "_"): 0 for each in names})
