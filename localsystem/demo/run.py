"""The demonstration from beginning to end."""

from __future__ import annotations

import json
import math
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console

from localsystem.dataset import LABEL, LabelledRows, load_shuttle, split
from localsystem.demo.display import Display
from localsystem.demo.plan import WATERMARK_S, WINDOW_S, Schedule, Traffic, make_schedule, make_traffic
from localsystem.demo.replay import Progress, replay
from localsystem.demo.report import Report, Seen, make_report, problems, summary
from localsystem.demo.watch import Watch
from localsystem.errors import LocalSystemError, MachineProblem
from localsystem.interrupts import Interrupted, Interrupts
from localsystem.monitor_file import MonitorSettings, write_monitor
from localsystem.ports import require_free
from localsystem.system import LocalSystem, Part
from tidegauge.monitor import ModelMonitor

MODEL: Final = "shuttle"
NEEDED_BYTES: Final = 1 << 30
LAST_VERDICT_WITHIN_S: Final = 60.0
SETTLED_WITHIN_S: Final = 20.0


class DemoFailed(LocalSystemError):
    """A part gave up after all had started: the main job did not work."""


@dataclass(frozen=True)
class Options:
    seconds: int = 240
    rate: int = 200
    seed: int = 7
    output: Path = Path("build/demo")
    broker_port: int | None = None
    transformer_port: int | None = None
    """None: a free one."""


def run_demo(options: Options, console: Console) -> int:
    """
    The exit code: 0 when the main job worked, 1 when it did not, 2 when this machine or these options do not allow it,
    128 + signal when interrupted. Whichever it is, nothing that was started is left running.
    """
    display = Display(console)
    with Interrupts() as interrupts:
        try:
            return _run(options, display, interrupts)
        except DemoFailed as error:
            display.line(f"tidegauge demo: {error}", style="bold red")
            return 1
        except LocalSystemError as error:
            display.line(f"tidegauge demo: {error}", style="bold red")
            return 2
        except Interrupted as interrupted:
            display.line(f"Interrupted ({interrupted}); everything that was started has been stopped.")
            return 128 + interrupted.number


def _run(options: Options, display: Display, interrupts: Interrupts) -> int:
    began = time.monotonic()
    schedule = make_schedule(seconds=options.seconds, rate=options.rate)
    directory = _prepare_output(options)
    baseline, held_out = split(load_shuttle())
    traffic = make_traffic(schedule, baseline=baseline, held_out=held_out, seed=options.seed)
    with LocalSystem(directory, hold=interrupts.held) as system:
        parts = _start_parts(system, options, baseline, display)
        with Watch(parts.bootstrap_servers, parts.monitor.kafka.topics) as watch:
            start_ms = _next_window_ms()
            progress = _send(schedule, traffic, start_ms, parts, watch, system, display)
            _wait_for_the_rest(schedule, start_ms, watch, system, display)
        seen = Seen(
            schedule=schedule,
            traffic=traffic,
            progress=progress,
            start_ms=start_ms,
            records=watch.records,
            accounts=list(watch.accounts.values()),
            reports=watch.reports_by_time(),
            seconds=time.monotonic() - began,
        )
        with display.step("Stopping", "everything stopped"):
            system.processes.stop_all()
    report = make_report(seen)
    return _conclude(
        report, problems(report, seen, repeated=watch.repeated, unreadable=watch.unreadable), options, display
    )


@dataclass(frozen=True)
class _Parts:
    transformer: Part
    monitor: ModelMonitor

    @property
    def bootstrap_servers(self) -> str:
        return self.monitor.kafka.bootstrap_servers


def _prepare_output(options: Options) -> Path:
    """An empty directory for the run. Raises MachineProblem for ports, disk and rights."""
    for port, option in ((options.broker_port, "--broker-port"), (options.transformer_port, "--transformer-port")):
        if port is not None:
            require_free(port, option=option)
    directory = options.output / "run"
    try:
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        (options.output / "report.json").unlink(missing_ok=True)
    except OSError as error:
        raise MachineProblem(f"cannot write to {options.output}: {error.strerror}; give another --output") from error
    free = shutil.disk_usage(directory).free
    if free < NEEDED_BYTES:
        raise MachineProblem(
            f"{free / 1e9:.1f} GB free where {options.output} is, the demo needs {NEEDED_BYTES / 1e9:.1f} GB: make room"
        )
    return directory.resolve()


def _start_parts(system: LocalSystem, options: Options, baseline: LabelledRows, display: Display) -> _Parts:
    """All started side by side as far as one does not need another, for Spark alone takes its time."""
    with display.step("Looking for Java and Kafka's jars (fetched once, then cached)", "Java and jars found"):
        system.prepare()
    predictor = system.start_predictor(MODEL)
    monitor_file = system.directory / "shuttle.yaml"
    with display.step("Starting a Kafka broker", "Kafka broker"):
        broker = system.start_broker(options.broker_port)
        broker.wait_until_ready()
        settings = MonitorSettings(broker.bootstrap_servers, "shuttle-baseline.json", MODEL, WINDOW_S, WATERMARK_S)
        monitor = write_monitor(monitor_file, settings)
        system.create_topics(broker, monitor.kafka.topics)
    with display.step("Fitting the baseline to 60 % of the data", "baseline"):
        _fit_baseline(system, baseline, monitor_file.parent / settings.baseline)
    aggregator = system.start_aggregator(monitor_file=monitor_file)
    transformer = system.start_transformer(
        monitor_file=monitor_file, model=MODEL, predictor=predictor, port=options.transformer_port
    )
    with display.step("Starting a KServe predictor (scikit-learn)", f"KServe predictor at {predictor.url}"):
        predictor.wait_until_ready()
    with display.step("Starting the transformer", f"transformer at {transformer.url}"):
        transformer.wait_until_ready()
    with display.step("Starting the aggregator on local Spark", "aggregator"):
        aggregator.wait_until_ready()
    return _Parts(transformer, monitor)


def _fit_baseline(system: LocalSystem, baseline: LabelledRows, profile: Path) -> None:
    data = system.directory / "baseline.csv"
    baseline.write_csv(data)
    system.run_command_line("baseline", ["baseline", "fit", str(data), "-o", str(profile), "--outlier-column", LABEL])


def _next_window_ms() -> int:
    """Traffic begins with a window, so that every window with traffic is a full one."""
    window_ms = 1000 * WINDOW_S
    return math.ceil((time.time() * 1000 + 500) / window_ms) * window_ms


def _send(
    schedule: Schedule,
    traffic: Traffic,
    start_ms: int,
    parts: _Parts,
    watch: Watch,
    system: LocalSystem,
    display: Display,
) -> Progress:
    display.line(
        f"Replaying {schedule.requests:,} Shuttle rows at {schedule.rate} requests/s for {schedule.traffic_s} s, "
        f"with drift in {' and '.join(traffic.scenario.features)} from second {schedule.drift_after_s} on"
    )
    url = f"{parts.transformer.url}/v1/models/{MODEL}:predict"
    with display.traffic(schedule) as showing:

        def on_tick(progress: Progress) -> None:
            _check_alive(watch, system)
            windows = _show_verdicts(watch, start_ms, display)
            showing.progress(progress, windows=windows)

        return replay(schedule, traffic, url=url, start_at_s=start_ms / 1000, on_tick=on_tick)


def _wait_for_the_rest(schedule: Schedule, start_ms: int, watch: Watch, system: LocalSystem, display: Display) -> None:
    """Until the last window's verdict has come and the transformer's account has nothing under way."""
    last_start_ms = start_ms + 1000 * (schedule.traffic_s - WINDOW_S)
    with display.step("Waiting for the last verdicts", "last window closed"):
        watch.wait_until(lambda: last_start_ms in watch.reports, within_s=LAST_VERDICT_WITHIN_S)
        watch.wait_until(lambda: _is_settled(watch), within_s=SETTLED_WITHIN_S)
    _show_verdicts(watch, start_ms, display)
    _check_alive(watch, system)


def _is_settled(watch: Watch) -> bool:
    accounts = list(watch.accounts.values())
    return all(account.in_flight == 0 for account in accounts) and sum(a.served for a in accounts) >= len(watch.records)


def _check_alive(watch: Watch, system: LocalSystem) -> None:
    """Raises DemoFailed."""
    try:
        watch.check()
    except LocalSystemError as error:
        raise DemoFailed(str(error)) from error
    ended = system.processes.first_ended()
    if ended is not None:
        raise DemoFailed(str(ended.failure("ended in the middle of the demo")))


def _show_verdicts(watch: Watch, start_ms: int, display: Display) -> int:
    """How many windows with traffic have been closed so far; shows those that are new."""
    for report in watch.new_reports():
        if report.end_ms > start_ms:
            display.verdict(report)
    return sum(report.end_ms > start_ms for report in watch.reports_by_time())


def _conclude(report: Report, wrong: list[str], options: Options, display: Display) -> int:
    path = options.output / "report.json"
    path.write_text(json.dumps(report, indent=2) + "\n")
    display.line("")
    for line in summary(report):
        display.line(line)
    for line in wrong:
        display.line(f"Not as it must be: {line}", style="bold red")
    display.line(f"Report: {path}   logs, monitor file, baseline, SQL store: {options.output / 'run'}")
    return 1 if wrong else 0
