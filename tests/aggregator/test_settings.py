from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from aggregator.brokers import Brokers
from aggregator.errors import StartError
from aggregator.settings import Settings, parse_settings
from tests.aggregator.doors import profile
from tests.support.examples import monitor_document

WriteMonitor = Callable[..., str]


@pytest.fixture
def monitor(tmp_path: Path) -> WriteMonitor:
    """Writes a monitor file beside its baseline and gives its path. name: of the monitor; spec: on top of its spec."""
    (tmp_path / "doors.json").write_bytes(profile().dump())

    def write(name: str = "doors", **spec: Any) -> str:
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(monitor_document(**spec) | {"metadata": {"name": name}}))
        return str(path)

    return write


@pytest.fixture
def parse(tmp_path: Path) -> Callable[..., Settings]:
    return lambda *arguments: parse_settings([*arguments, "--checkpoint", str(tmp_path / "checkpoint")])


Parse = Callable[..., Settings]


def problem(parse: Parse, *arguments: str) -> str:
    with pytest.raises(StartError) as raised:
        parse(*arguments)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_the_defaults(parse: Parse, monitor: WriteMonitor, tmp_path: Path) -> None:
    path = monitor()
    settings = parse("--monitor", path)
    assert list(settings.catalogue.monitors) == ["doors"]
    assert settings.catalogue.baselines == {"doors": profile().content_id}
    assert settings.catalogue.profiles == {profile().content_id: profile().dump()}
    assert settings == Settings(
        catalogue=settings.catalogue,
        brokers=Brokers("127.0.0.1:9092"),
        checkpoint=tmp_path / "checkpoint",
        store="sqlite:///tidegauge.db",
        master="local[*]",
        interval_ms=1000,
        maximum_records=200_000,
        files=(Path(path), Path(path), Path(path).parent / "doors.json"),
    )


def test_a_directory_of_monitors(parse: Parse, monitor: WriteMonitor) -> None:
    directory = Path(monitor("doors")).parent
    monitor("gates")
    assert list(parse("--monitor", str(directory)).catalogue.monitors) == ["doors", "gates"]


def test_a_directory_without_monitors(parse: Parse, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "no *.yaml in this directory" in problem(parse, "--monitor", str(tmp_path / "empty"))


def test_two_monitors_may_share_a_baseline(parse: Parse, monitor: WriteMonitor) -> None:
    catalogue = parse("--monitor", monitor("doors"), "--monitor", monitor("gates")).catalogue
    assert list(catalogue.monitors) == ["doors", "gates"]
    assert len(catalogue.profiles) == 1


def test_the_store_can_be_chosen_on_the_command_line(parse: Parse, monitor: WriteMonitor) -> None:
    assert parse("--monitor", monitor(), "--store", "sqlite:///x.db").store == "sqlite:///x.db"


def test_no_monitor(parse: Parse) -> None:
    assert "--monitor" in problem(parse)


def test_an_unknown_option(parse: Parse, monitor: WriteMonitor) -> None:
    assert "--chekpoint" in problem(parse, "--monitor", monitor(), "--chekpoint", "x")


def test_a_monitor_file_that_is_not_there(parse: Parse, tmp_path: Path) -> None:
    assert problem(parse, "--monitor", str(tmp_path / "no.yaml")).endswith("no.yaml: No such file or directory")


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"a: [", "not YAML"), (b"\xff\xfe", "not UTF-8"), (b"kind: Pod", "apiVersion"), (b"", "a mapping")],
    ids=["yaml", "bytes", "kind", "empty"],
)
def test_a_file_that_is_no_monitor(parse: Parse, tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "doors.yaml"
    path.write_bytes(content)
    assert said in problem(parse, "--monitor", str(path))


def test_a_field_that_is_wrong_is_named_by_its_path(parse: Parse, monitor: WriteMonitor) -> None:
    assert "spec.windows.duration" in problem(parse, "--monitor", monitor(windows={"duration": "soon"}))


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"drift": {"own": {"report": ["nowhere:test"]}}}, "nowhere:test: cannot import nowhere"),
        ({"drift": {"own": {"decide": ["tests.support.own:largest_gap"]}}}, "an answer to any bins: not so"),
        ({"statistics": {"own": ["tests.support.own:Late"]}}, "tests.support.own:Late: fails while it is checked"),
    ],
)
def test_a_test_or_a_statistic_of_ones_own_that_cannot_be_used(
    parse: Parse, monitor: WriteMonitor, spec: dict[str, Any], said: str
) -> None:
    assert said in problem(parse, "--monitor", monitor(**spec))


def test_a_baseline_that_is_not_there(parse: Parse, monitor: WriteMonitor) -> None:
    assert "none.json: No such file" in problem(parse, "--monitor", monitor(baseline={"file": "none.json"}))


def test_a_baseline_that_is_none(parse: Parse, monitor: WriteMonitor, tmp_path: Path) -> None:
    (tmp_path / "wrong.json").write_text("{}")
    assert "tidegauge baseline fit" in problem(parse, "--monitor", monitor(baseline={"file": "wrong.json"}))


def test_a_baseline_with_another_content_id(parse: Parse, monitor: WriteMonitor) -> None:
    baseline = {"file": "doors.json", "sha256": "0" * 64}
    assert profile().content_id in problem(parse, "--monitor", monitor(baseline=baseline))


def test_a_baseline_that_is_no_file(parse: Parse, monitor: WriteMonitor) -> None:
    assert "spec.baseline.file" in problem(parse, "--monitor", monitor(baseline={"configMap": "doors"}))


def test_one_name_twice(parse: Parse, monitor: WriteMonitor) -> None:
    assert "doors given more than once" in problem(parse, "--monitor", monitor(), "--monitor", monitor())


def test_monitors_of_two_kafka_clusters(parse: Parse, monitor: WriteMonitor) -> None:
    others = monitor("gates", kafka={"bootstrapServers": "127.0.0.1:9999"})
    assert "spec.kafka.bootstrapServers differs" in problem(parse, "--monitor", monitor(), "--monitor", others)


def test_monitors_with_two_stores_need_a_choice(parse: Parse, monitor: WriteMonitor) -> None:
    both = ("--monitor", monitor(), "--monitor", monitor("gates", aggregator={"store": "sqlite:///g.db"}))
    assert problem(parse, *both).endswith("give --store")
    assert parse(*both, "--store", "sqlite:///x.db").store == "sqlite:///x.db"


@pytest.mark.parametrize("interval", ["-1", "soon", "60001"])
def test_an_interval_out_of_range(parse: Parse, monitor: WriteMonitor, interval: str) -> None:
    assert "--interval-ms" in problem(parse, "--monitor", monitor(), f"--interval-ms={interval}")


@pytest.mark.parametrize("records", ["0", "many", "100000001"])
def test_a_bound_of_micro_batches_out_of_range(parse: Parse, monitor: WriteMonitor, records: str) -> None:
    assert "--maximum-records" in problem(parse, "--monitor", monitor(), f"--maximum-records={records}")


def test_a_checkpoint_that_is_a_file(monitor: WriteMonitor, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "--checkpoint" in problem(
        lambda *a: parse_settings(a), "--monitor", monitor(), "--checkpoint", str(tmp_path / "file")
    )


def test_bins_of_a_feature_that_the_baseline_does_not_have(parse: Parse, monitor: WriteMonitor) -> None:
    said = problem(parse, "--monitor", monitor(statistics={"bins": {"hight": [160]}}))
    assert "statistics.bins: no numeric or boolean feature of the baseline: hight" in said
