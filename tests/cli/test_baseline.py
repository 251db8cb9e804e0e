"""`tidegauge baseline fit`: files into profiles; what is wrong with a file is one line and exit code 2."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, feather, parquet

from cli import main as command_line
from tests.support.schemas import ROOT
from tidegauge.baseline import BaselineProfile
from tidegauge.features import FeatureSchema, FeatureSpec

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """The command with these arguments, in a directory of its own: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tidegauge", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            command_line.main()
        output = capsys.readouterr()
        return ended.value.code or 0, output.out, output.err  # type: ignore[return-value]

    return run


def table(rows: int = 400) -> pa.Table:
    rng = np.random.default_rng(1)
    height = rng.normal(170.0, 10.0, rows)
    return pa.table(
        {
            "height": pa.array([None if position % 50 == 0 else value for position, value in enumerate(height)]),
            "doors": rng.integers(2, 6, rows),
            "colour": rng.choice(["red", "green", "blue"], rows),
            "open": rng.random(rows) < 0.2,
            "fault": (rng.random(rows) < 0.05).astype(int),
            "label": rng.choice(["a", "b"], rows),
        }
    )


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    paths = {suffix: tmp_path / f"data.{suffix}" for suffix in ("csv", "csv.gz", "parquet")}
    csv.write_csv(table(), paths["csv"])
    paths["csv.gz"].write_bytes(gzip.compress(paths["csv"].read_bytes()))
    parquet.write_table(table(), paths["parquet"])
    return paths


def test_csv_and_parquet_of_the_same_data_give_the_same_profile(run: Run, files: dict[str, Path]) -> None:
    profiles = {}
    for suffix, path in files.items():
        code, out, err = run(
            "baseline", "fit", path, "-o", f"{suffix}.json", "--exclude", "label", "--outlier-column", "fault"
        )
        assert code == 0
        assert err.splitlines() == [line for line in err.splitlines() if line.startswith("tidegauge: note: ")]
        assert out.startswith(f"{suffix}.json: 400 rows, ")
        profiles[suffix] = BaselineProfile.load(Path(f"{suffix}.json").read_bytes())
    assert len({profile.content_id for profile in profiles.values()}) == 1
    profile = profiles["csv"]
    assert profile.schema.features == (
        FeatureSpec("height"),
        FeatureSpec("doors"),
        FeatureSpec("colour", "categorical", ("blue", "green", "red")),
        FeatureSpec("open", "boolean"),
    )
    assert profile.rows == 400
    assert profile.outliers == sum(table()["fault"].to_pylist())
    assert profile.references[0].missing == 8


def test_the_last_line_says_what_was_made(run: Run, files: dict[str, Path]) -> None:
    _, out, _ = run("baseline", "fit", files["csv"], "-o", "doors.json", "--exclude", "fault", "--exclude", "label")
    profile = BaselineProfile.load(Path("doors.json").read_bytes())
    assert out.splitlines()[-1].startswith("doors.json: 400 rows, 0 known outliers, 4 features, ")
    assert out.rstrip().endswith(f"id {profile.content_id[:12]}")


def test_true_and_false_mark_outliers_as_well(run: Run) -> None:
    marked = table().append_column("bad", pa.array([position % 40 == 0 for position in range(400)]))
    parquet.write_table(marked, "data.parquet")
    options = ("--outlier-column", "bad", "--exclude", "fault", "--exclude", "label")
    assert run("baseline", "fit", "data.parquet", "-o", "doors.json", *options)[0] == 0
    assert BaselineProfile.load(Path("doors.json").read_bytes()).outliers == 10


def test_other_number_types_are_numbers(run: Run) -> None:
    rng = np.random.default_rng(2)
    values = rng.integers(0, 200, 300)
    numbers = pa.table(
        {
            "small": pa.array(values, pa.int8() if values.max() < 128 else pa.uint8()),
            "single": pa.array(values.astype(np.float32) / 3),
            "decimal": pa.array(values).cast(pa.decimal128(21, 2)),
            "coded": pa.array(["a", "b", None] * 100).dictionary_encode(),
        }
    )
    parquet.write_table(numbers, "data.parquet")
    assert run("baseline", "fit", "data.parquet", "-o", "numbers.json")[0] == 0
    profile = BaselineProfile.load(Path("numbers.json").read_bytes())
    assert [feature.kind for feature in profile.schema.features] == ["numeric"] * 3 + ["categorical"]
    assert profile.references[2].mean == pytest.approx(values.mean())
    assert profile.references[3].missing == 100


def written(content: bytes | pa.Table, name: str = "data.csv") -> None:
    if isinstance(content, pa.Table):
        parquet.write_table(content, name)
    else:
        Path(name).write_bytes(content)


NUMBERS = b"a,b\n" + b"".join(b"%d,%d\n" % (n, n * n % 17) for n in range(300))


@pytest.mark.parametrize(
    ("content", "name", "options", "message"),
    [
        pytest.param(None, "absent.csv", (), "absent.csv: no such file", id="missing-file"),
        pytest.param(None, "absent.parquet", (), "absent.parquet: no such file", id="missing-parquet"),
        pytest.param(
            NUMBERS,
            "data.txt",
            (),
            "data.txt: expected a .csv, .csv.gz, .parquet, .arrow or .feather file",
            id="wrong-suffix",
        ),
        pytest.param(
            NUMBERS, "data", (), "data: expected a .csv, .csv.gz, .parquet, .arrow or .feather file", id="no-suffix"
        ),
        pytest.param(b"", "data.csv", (), "data.csv: Empty CSV file", id="empty-csv"),
        pytest.param(b"", "data.parquet", (), "data.parquet: ", id="empty-parquet"),
        pytest.param(b"a,b\n", "data.csv", (), "", id="header-only"),
        pytest.param(NUMBERS, "data.parquet", (), "data.parquet: ", id="csv-called-parquet"),
        pytest.param(NUMBERS, "data.csv.gz", (), "data.csv.gz", id="csv-called-gz"),
        pytest.param(b"a,b\n1,2\n3\n", "data.csv", (), "data.csv: ", id="ragged-csv"),
        pytest.param(
            b"a,a\n" + b"1,2\n" * 300, "data.csv", (), "data.csv has several columns named a", id="columns-of-one-name"
        ),
        pytest.param(
            NUMBERS, "data.csv", ("--exclude", "c"), "data.csv has no column c; it has a, b", id="unknown-column"
        ),
        pytest.param(
            NUMBERS, "data.csv", ("--outlier-column", "c"), "has no column c; it has a, b", id="unknown-outlier"
        ),
        pytest.param(
            NUMBERS, "data.csv", ("--outlier-column", "b"), "column b: expected only true and false", id="no-flag"
        ),
        pytest.param(NUMBERS, "data.csv", ("--exclude", "a", "--exclude", "b"), "at least one feature", id="none-left"),
        pytest.param(b"a\n1\n2\n", "data.csv", (), "2 rows that are no known outliers: at least 200", id="few-rows"),
        pytest.param(b"a\n" + b"7\n" * 300, "data.csv", (), "every column is constant", id="constant"),
        pytest.param(b"a\ninf\n" + b"7\n" * 300, "data.csv", (), "in: a; make them missing", id="infinity"),
        pytest.param(
            b"a,t\n" + b"1,2026-01-01\n" * 300,
            "data.csv",
            (),
            "column t is of type date32[day], which is no",
            id="date",
        ),
        pytest.param(b"a,t\n" + b"1,\n" * 300, "data.csv", (), "column t", id="nothing-in-a-column"),
        pytest.param(
            b"t\n" + b"".join(b"x%d\n" % n for n in range(1500)),
            "data.csv",
            (),
            "column t has more than 1000 different values",
            id="free-text",
        ),
        pytest.param(pa.table({"a": [[1, 2]] * 300}), "data.parquet", (), "column a is of type list", id="lists"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_exit_code_2(
    run: Run, content: Any, name: str, options: tuple[str, ...], message: str
) -> None:
    if content is not None:
        written(content, name)
    code, out, err = run("baseline", "fit", name, "-o", "profile.json", *options)
    assert code == 2
    assert err.startswith("tidegauge: ")
    assert message in err
    assert len(err.splitlines()) == 1
    assert out == ""
    assert not Path("profile.json").exists()


def test_an_output_that_cannot_be_written_is_one_line(run: Run) -> None:
    written(NUMBERS)
    code, _, err = run("baseline", "fit", "data.csv", "-o", "no/such/directory/profile.json")
    assert code == 2
    assert "no/such/directory/profile.json" in err
    assert len(err.splitlines()) == 1


def test_missing_arguments_are_a_usage_error(run: Run) -> None:
    code, _, err = run("baseline", "fit")
    assert code == 2
    assert "Missing option '--output'" in err
    code, _, err = run("baseline", "fit", "-o", "profile.json")
    assert (code, "give either files or --from-topic" in err) == (2, True)


def test_the_command_runs_as_a_program_of_its_own(tmp_path: Path) -> None:
    """Without a test's imports around it, and without a terminal."""
    (tmp_path / "data.csv").write_bytes(NUMBERS)
    program = [sys.executable, "-m", "cli.main", "baseline", "fit"]
    arguments = [str(tmp_path / "data.csv"), "-o", str(tmp_path / "profile.json")]
    done = subprocess.run([*program, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert all(line.startswith("tidegauge: note: ") for line in done.stderr.splitlines())
    assert (tmp_path / "profile.json").is_file()
    arguments[0] = str(tmp_path / "absent.csv")
    failed = subprocess.run([*program, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert failed.returncode == 2
    assert failed.stderr.startswith("tidegauge: ")
    assert "Traceback" not in failed.stderr


def test_arrow_files_directories_and_patterns_give_the_same_profile_as_one_file(
    run: Run, files: dict[str, Path], tmp_path: Path
) -> None:
    whole = table()
    feather.write_feather(whole, "data.feather")
    feather.write_feather(whole, "data.arrow", compression="uncompressed")
    (tmp_path / "parts").mkdir()
    for number, start in enumerate(range(0, 400, 150)):
        parquet.write_table(whole.slice(start, 150), tmp_path / "parts" / f"part-{number}.parquet")
    sources = ["data.feather", "data.arrow", "parts", "parts/part-*.parquet", files["csv"]]
    sources.append(["parts/part-0.parquet", "parts/part-1.parquet", "parts/part-2.parquet"])
    written = set()
    for source in sources:
        given = source if isinstance(source, list) else [source]
        code, _, err = run("baseline", "fit", *given, "-o", "p.json", "--exclude", "label", "--outlier-column", "fault")
        assert code == 0, err
        written.add(Path("p.json").read_bytes())
    assert len(written) == 1


def test_the_same_bytes_come_out_of_another_process_with_other_hashes(files: dict[str, Path], tmp_path: Path) -> None:
    written = set()
    for seed in ("0", "1", "4711"):
        output = tmp_path / f"{seed}.json"
        program = [sys.executable, "-m", "cli.main", "baseline", "fit", str(files["csv"]), "-o", str(output)]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run(program, cwd=ROOT, env=environment, capture_output=True, check=True)
        written.add(output.read_bytes())
    assert len(written) == 1


def test_a_type_that_shows_late_in_a_csv_file_holds_for_all_of_it(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Arrow's reader decides by the first block, here of some 60 rows."""
    monkeypatch.setattr("cli.csv_files._BLOCK_BYTES", 1024)
    rows = [f"{n},,{n},true,{n % 7}" for n in range(300)] + ["0.5,1.5,x,false,2", ",,y,,"]
    (tmp_path / "data.csv").write_text("late,gap,text,flag,whole\n" + "\n".join(rows[:300] * 2 + rows[300:]) + "\n")
    code, _, err = run("baseline", "fit", "data.csv", "-o", "p.json", "--categorical", "whole")
    assert code == 0, err
    profile = BaselineProfile.load(Path("p.json").read_bytes())
    kinds = {feature.name: feature.kind for feature in profile.schema.features}
    assert kinds == {
        "late": "numeric",
        "gap": "numeric",
        "text": "categorical",
        "flag": "boolean",
        "whole": "categorical",
    }
    assert profile.schema.features[4].categories == tuple(range(7))
    assert [reference.missing for reference in profile.references] == [1, 601, 0, 1, 1]


def test_files_that_do_not_belong_together_are_refused(run: Run) -> None:
    parquet.write_table(pa.table({"a": [1.0], "b": [1]}), "one.parquet")
    parquet.write_table(pa.table({"a": [1.0]}), "two.parquet")
    parquet.write_table(pa.table({"b": ["x"], "a": [1]}), "three.parquet")
    assert (
        "two.parquet has other columns than one.parquet"
        in run("baseline", "fit", "one.parquet", "two.parquet", "-o", "p")[2]
    )
    assert (
        "three.parquet and one.parquet differ: " in run("baseline", "fit", "one.parquet", "three.parquet", "-o", "p")[2]
    )
    assert "nothing-*.parquet: no such files" in run("baseline", "fit", "nothing-*.parquet", "-o", "p")[2]
    Path("empty").mkdir()
    assert (
        "empty has no .csv, .csv.gz, .parquet, .arrow or .feather file" in run("baseline", "fit", "empty", "-o", "p")[2]
    )


def test_predictions_and_own_detectors_and_a_contamination_can_be_asked_for(run: Run, files: dict[str, Path]) -> None:
    options = (
        "--prediction-column",
        "label",
        "--detector",
        "tail",
        "--contamination",
        "0.02",
        "--outlier-column",
        "fault",
    )
    assert run("baseline", "fit", files["parquet"], "-o", "p.json", *options)[0] == 0
    profile = BaselineProfile.load(Path("p.json").read_bytes())
    assert profile.prediction_schema == FeatureSchema((FeatureSpec("label", "categorical", ("a", "b")),))
    assert list(profile.scoring.detectors) == ["tail"]
    for name, message in (("psychic", "no detector psychic"), ("nowhere:Class", "cannot import nowhere")):
        code, _, err = run("baseline", "fit", files["parquet"], "-o", "q.json", "--detector", name)
        assert (code, message in err, len(err.splitlines())) == (2, True, 1)


def test_rows_too_few_for_the_rate_asked_for_are_refused(run: Run, files: dict[str, Path]) -> None:
    code, _, err = run("baseline", "fit", files["csv"], "-o", "p.json", "--false-alarm-rate", "0.00001")
    assert code == 2
    assert "refused with 400 rows held out: at least 20,000 reference rows are needed" in err
    assert not Path("p.json").exists()
    code, out, _ = run("baseline", "fit", files["csv"], "-o", "p.json", "--false-alarm-rate", "0.05")
    assert (code, "false-alarm rate 0.05 calibrated" in out) == (0, True)


@pytest.mark.parametrize("rate", ["0", "1", "nan"])
def test_a_false_alarm_rate_must_be_a_share(run: Run, files: dict[str, Path], rate: str) -> None:
    code, _, err = run("baseline", "fit", files["csv"], "-o", "p.json", "--false-alarm-rate", rate)
    assert code == 2
    assert "Traceback" not in err


@pytest.mark.parametrize("suffix", ["csv.gz", "parquet"])
def test_a_file_cut_short_is_one_line_and_the_program_ends_in_order(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"data.{suffix}"
    if suffix == "parquet":
        parquet.write_table(table(), path)
    else:
        path.write_bytes(gzip.compress(b"a,b\n" + b"".join(b"%d,%d\n" % (n, n * n % 17) for n in range(50_000))))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    program = [sys.executable, "-m", "cli.main", "baseline", "fit", str(path), "-o", str(tmp_path / "p.json")]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert str(path) in done.stderr
