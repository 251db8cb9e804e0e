"""Alerts: told once, about one incident, by what non-overlapping windows say; a replay changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.schemas import DATA, validate
from tidegauge.alerts import CORRECTABLE, Alert, AlertState, step
from tidegauge.alerts_spec import AlertPolicy
from tidegauge.budget import Spending
from tidegauge.causes import Cause
from tidegauge.drift.results import DriftResult, Measured, NotMeasured, Results
from tidegauge.report import FeatureReport, WindowReport
from tidegauge.summaries.request_counts import RequestCounts
from tidegauge.summaries.served_account import Completeness
from tidegauge.webhooks_spec import Webhook
from tidegauge.windows import Window

POLICY = AlertPolicy(blind_after=3)
SPENDING = Spending("spending", 1.0, 86_400.0, 1e-4, 1e-5, 1e-4, 1e-4, 10, 10)
STEADY = Measured(1.0, -0.1, 1e-5, 0.001, "nats")


def report(
    second: int,
    drifted: Iterable[str] = (),
    blind: Iterable[str] = (),
    *,
    revision: int = 0,
    share: float | None = 1.0,
    length: int = 10,
    effect: float = 0.02,
) -> WindowReport:
    """A window of `length` seconds from `second` on, of the features a to d."""

    def result(name: str) -> DriftResult:
        if name in blind:
            return NotMeasured("needs 100 rows")
        return Measured(90.0, -40.0, 1e-5, effect, "nats") if name in drifted else STEADY

    served = None if share is None else 100
    return WindowReport(
        monitor="doors",
        model="doors",
        version="1",
        baseline="f" * 64,
        window=Window(second * 1000, (second + length) * 1000),
        revision=revision,
        requests=RequestCounts(),
        completeness=Completeness(seen=round(100 * (share or 0)), served=served),
        features=tuple(FeatureReport(name, {}, Results.given({"jensen_shannon": result(name)})) for name in "abcd"),
        spending=SPENDING,
        statistics={},
        causes=tuple(Cause(name, "shift", 1.0, "sd", f"{name} moved") for name in drifted),
    )


def run(reports: Iterable[WindowReport], policy: AlertPolicy = POLICY) -> tuple[AlertState, list[Alert]]:
    told: list[Alert] = []
    state = AlertState()
    for one in reports:
        state, alerts = step(state, one, policy)
        told.extend(alerts)
    return state, told


def lines(alerts: Iterable[Alert]) -> list[tuple[str, str, bool, str]]:
    return [(a.kind, a.incident.status, a.notify, "".join(sorted(a.incident.features))) for a in alerts]


def test_one_drifted_window_is_pending_and_tells_nobody() -> None:
    state, told = run([report(0), report(10, "a"), report(20)])
    assert told == []
    assert state.incidents(POLICY).tracks["drift"] == {}


def test_two_windows_fire_and_two_clean_ones_resolve() -> None:
    _, told = run([report(0, "a"), report(10, "a"), report(20, "a"), report(30), report(40), report(50)])
    assert lines(told) == [("drift", "firing", True, "a"), ("drift", "resolved", True, "a")]
    assert [alert.incident.last_ms for alert in told] == [20_000, 50_000]
    assert {alert.id for alert in told} == {"doors/1/ffffffffffff/drift/0"}
    assert told[0].to_document()["features"][0]["evidence"]["sentence"] == "a moved"


def test_different_features_in_two_windows_do_not_fire() -> None:
    assert run([report(0, "a"), report(10, "b"), report(20, "a")])[1] == []


def test_overlapping_windows_count_once() -> None:
    sliding = [report(at, "a") for at in (0, 5)]
    assert run(sliding)[1] == []
    assert lines(run([*sliding, report(10, "a")])[1]) == [("drift", "firing", True, "a")]


def test_overlapping_clean_windows_resolve_once() -> None:
    fired = [report(0, "a"), report(10, "a")]
    assert len(run([*fired, report(20), report(25)])[1]) == 1
    assert len(run([*fired, report(20), report(25), report(30)])[1]) == 2


def test_a_clean_window_between_starts_resolving_anew() -> None:
    _, told = run([report(0, "a"), report(10, "a"), report(20), report(30, "a"), report(40), report(50, "a")])
    assert len(told) == 1


def test_windows_that_could_not_be_judged_neither_fire_nor_resolve() -> None:
    blind = [report(20, blind="abcd"), report(30, blind="abcd")]
    assert len(run([report(0, "a"), report(10, "a"), *blind])[1]) == 1
    _, told = run([report(0, "a"), report(10, blind="a"), report(20, "a")])
    assert lines(told) == [("drift", "firing", True, "a")]


def test_forty_features_are_one_incident_that_they_join_and_leave_quietly() -> None:
    _, told = run(
        [
            report(0, "a"),
            report(10, "ab"),
            report(20, "abc"),
            report(30, "bc"),
            report(40, "bc"),
            report(50),
            report(60),
        ]
    )
    assert lines(told) == [
        ("drift", "firing", True, "a"),
        ("drift", "firing", False, "ab"),
        ("drift", "firing", False, "abc"),
        ("drift", "firing", False, "bc"),
        ("drift", "resolved", True, "bc"),
    ]
    assert len({alert.id for alert in told}) == 1


def test_what_fires_again_soon_is_the_same_incident_and_later_another() -> None:
    first = [report(0, "a"), report(10, "a"), report(20), report(30)]
    _, told = run([*first, report(40, "b"), report(50, "b")])
    assert lines(told)[-1] == ("drift", "reopened", True, "b")
    assert len({alert.id for alert in told}) == 1
    _, told = run([*first, report(7000, "b"), report(7010, "b")])
    assert lines(told)[-1] == ("drift", "firing", True, "b")
    assert told[-1].id == "doors/1/ffffffffffff/drift/7000000"


def test_a_feature_that_cannot_be_judged_for_long_is_an_alert_of_its_own() -> None:
    _, told = run([report(10 * at, blind="cd") for at in range(4)] + [report(40, blind="d"), report(50)])
    assert lines(told) == [
        ("blind", "firing", True, "cd"),
        ("blind", "firing", False, "d"),
        ("blind", "resolved", True, "d"),
    ]
    assert {alert.severity for alert in told} == {"warning"}


def test_a_test_that_may_spend_nothing_has_not_judged() -> None:
    learning = report(0)
    features = tuple(
        FeatureReport(name, {}, Results.given({"jensen_shannon": Measured(1.0, -0.1, 0.0, 0.001, "nats")}))
        for name in "abcd"
    )
    object.__setattr__(learning, "features", features)
    state, _ = run([learning])
    assert state.recent[0].blind == ("a", "b", "c", "d")


@pytest.mark.parametrize(("share", "complete"), [(1.0, True), (0.95, True), (0.9, False), (None, False)])
def test_windows_that_saw_too_little_are_noted(share: float | None, complete: bool) -> None:
    _, told = run([report(0, "a"), report(10, "a", share=share)])
    assert told[0].incident.complete is complete


def test_large_changes_are_critical() -> None:
    assert run([report(0, "a"), report(10, "a")])[1][0].severity == "warning"
    assert run([report(0, "a"), report(10, "a", effect=0.3)])[1][0].severity == "critical"


def test_a_corrected_report_takes_back_what_the_first_one_raised() -> None:
    _, told = run([report(0, "a"), report(10, "a"), report(10, revision=1)])
    assert lines(told) == [("drift", "firing", True, "a"), ("drift", "resolved", True, "a")]
    assert [alert.corrected for alert in told] == [False, True]


def test_a_corrected_report_raises_what_the_first_one_could_not_judge() -> None:
    _, told = run([report(0, blind="a"), report(10, "a"), report(0, "a", revision=1)])
    assert lines(told) == [("drift", "firing", True, "a")]


def test_a_corrected_report_does_not_raise_what_the_first_one_judged() -> None:
    """That would be a second chance for a false alarm in one window."""
    judged = [report(0), report(10, "a"), report(0, "a", revision=1)]
    assert run(judged)[1] == []
    taken_back = [report(0, "a"), report(0, revision=1), report(10, "a"), report(0, "a", revision=2)]
    assert run(taken_back)[1] == []


def test_a_corrected_report_brings_later_evidence() -> None:
    state, _ = run([report(0, "a"), report(0, "a", revision=1, effect=0.5)])
    assert state.recent[0].drifted["a"]["divergence"] == 0.5


def test_another_policy_judges_the_same_windows_anew() -> None:
    state, told = run([report(0, "a"), report(10, "a")], AlertPolicy(consecutive_windows=3))
    assert told == []
    assert lines(step(state, report(20), POLICY)[1]) == []
    assert state.incidents(POLICY).tracks["drift"]["a"].firing
    assert not state.incidents(AlertPolicy(consecutive_windows=3)).tracks["drift"]["a"].firing


def test_what_follows_from_the_windows_is_kept_in_the_document_and_worked_out_where_it_is_not() -> None:
    state, _ = run([report(0, "ab"), report(10, "ab", "c"), report(20, "b")])
    document = state.to_document()
    again = AlertState.from_document(document)
    assert again.known == state.known
    assert again.incidents(POLICY) == state.incidents(POLICY)
    earlier = AlertState.from_document({name: value for name, value in document.items() if name != "known"})
    assert earlier.known is None
    assert earlier.incidents(POLICY) == state.incidents(POLICY)


def test_where_alerts_go_is_not_kept_with_what_they_follow_from() -> None:
    secret = Webhook("chat", "slack", url="https://hooks.example/secret")
    state, _ = run([report(0, "a"), report(10, "a")], AlertPolicy(webhooks=(secret,)))
    assert "secret" not in json.dumps(state.to_document())
    assert state.known is not None
    assert state.incidents(AlertPolicy()) is state.known[1]


def test_it_is_known_which_windows_were_judged() -> None:
    state, _ = run([report(0, blind="abcd"), report(10, blind="abc")])
    assert [state.has_judged(report(second)) for second in (0, 10, 20)] == [False, True, False]
    later, _ = run([report(10 * at) for at in range(CORRECTABLE + 1)])
    assert later.has_judged(report(0)), "it is settled"


def test_old_windows_can_no_longer_be_corrected() -> None:
    later = [report(10 * at) for at in range(2, CORRECTABLE + 3)]
    state, _ = run([report(0, "a"), report(10), *later])
    again, told = step(state, report(0, "ab", revision=1), POLICY)
    assert again is state
    assert told == ()


windows = st.lists(
    st.tuples(st.sets(st.sampled_from("ab")), st.sets(st.sampled_from("cd"))), min_size=1, max_size=2 * CORRECTABLE
)


@given(windows)
def test_a_replay_changes_nothing(given_windows: list[tuple[set[str], set[str]]]) -> None:
    reports = [report(10 * at, drifted, blind) for at, (drifted, blind) in enumerate(given_windows)]
    state, _ = run(reports)
    for one in reports:
        again, told = step(state, one, POLICY)
        assert again is state
        assert told == ()


@given(windows, st.randoms(use_true_random=False))
def test_late_reports_leave_the_same_state_as_those_in_order(
    given_windows: list[tuple[set[str], set[str]]], random: object
) -> None:
    reports = [report(10 * at, drifted, blind) for at, (drifted, blind) in enumerate(given_windows)][:CORRECTABLE]
    shuffled = list(reports)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert run(shuffled)[0] == run(reports)[0]


@given(windows)
def test_the_state_survives_its_document_and_stays_small(given_windows: list[tuple[set[str], set[str]]]) -> None:
    reports = [report(10 * at, drifted, blind) for at, (drifted, blind) in enumerate(given_windows)]
    state, _ = run(reports)
    data = json.dumps(state.to_document())
    assert AlertState.from_document(json.loads(data)) == state
    assert len(data) < 20_000
    stepped = reduce(lambda now, one: step(AlertState.from_document(now.to_document()), one, POLICY)[0], reports, state)
    assert stepped.to_document() == state.to_document()


def test_the_beginning_has_no_document_and_other_versions_are_refused() -> None:
    assert AlertState.from_document(None) == AlertState()
    with pytest.raises(ValueError, match="alerts of version 2"):
        AlertState.from_document({"v": 2})


def test_alerts_fit_their_schema_and_the_golden_one() -> None:
    _, told = run([report(0, "ab"), report(10, "ab"), report(20), report(30)])
    for alert in told:
        validate("alert.v1", alert.to_document())
    golden = json.loads((DATA / "alerts" / "alert-v1.json").read_bytes())
    validate("alert.v1", golden)
    assert told[0].to_document() == golden
