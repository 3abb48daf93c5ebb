"""Results as a data frame, and queries over it that can do nothing but compare."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from repro.cli.app import app
from repro.errors import ParamsError
from repro.params.project import Project
from repro.reports.columns import plain_lines
from repro.reports.frame import COLUMNS
from repro.reports.query import checked, queried
from repro.reports.results import Declared, load_results
from tests.kit import PUBLISHED
from tests.reports.kit import ROOT, a_record, results

RUN = CliRunner()


def test_a_row_per_result_published_beside_measured() -> None:
    own = a_record("camvid_mobilenetv2_os16", row=None, metrics={"mIoU": 49.5})
    frame = results(a_record(metrics={"mIoU": 50.55}), own).to_frame()
    assert list(frame.columns) == list(COLUMNS)
    assert all(re.fullmatch("[a-z][a-z0-9_]*", name) for name in COLUMNS)
    assert frame["row"].dropna().tolist() == list(PUBLISHED.rows)
    line = frame[frame["row"] == "003-028"].iloc[0]
    assert (line["published"], line["measured"], line["gap"]) == (50.0, 50.55, 0.55)
    assert (line["interval_low"], line["interval_high"], line["verdict"]) == (48.9, 51.7, "reproduced")
    assert (line["experiment"], line["label"]) == ("camvid_x", PUBLISHED.rows["003-028"].label)
    last = frame.iloc[-1]
    assert (last["experiment"], last["gap"], last["verdict"]) == ("camvid_mobilenetv2_os16", -0.5, "holds")


def test_numbers_are_numbers_and_addresses_are_whole() -> None:
    frame = results(a_record()).to_frame()
    assert frame["published"].dtype == frame["params_m"].dtype == "float64"
    assert frame["n_images"].dtype == frame["output_stride"].dtype == "Int64"
    addresses = frame["published_weights_url"].dropna()
    assert len(addresses) > 20
    assert addresses.str.fullmatch(r"https?://\S+").all()
    assert frame["published"].isna().sum() == sum(
        "mIoU" not in row.metrics for row in PUBLISHED.rows.values()
    )


def test_experiments_of_one_row_have_a_line_each() -> None:
    frame = results(a_record(), a_record("camvid_x_seed1")).to_frame()
    assert frame[frame["row"] == "003-028"]["experiment"].tolist() == ["camvid_x", "camvid_x_seed1"]


def test_what_is_missing_is_null_in_json() -> None:
    frame = load_results(Project(ROOT)).to_frame()
    line = next(line for line in plain_lines(frame) if line["row"] == "001-06")
    assert (line["published"], line["measured"], line["n_images"]) == (43.21, None, None)
    assert type(line["output_stride"]) is int


def test_params_of_any_type_make_no_column_of_another_type() -> None:
    odd = Declared(
        name="camvid_odd",
        dataset="camvid",
        network={"model": {"output_stride": "wide", "backbone": ["a", 1]}},
    )
    huge = Declared(
        name="camvid_huge", dataset="camvid", network={"model": {"output_stride": 10**30, "backbone": True}}
    )
    frame = results(declared=[odd, huge]).to_frame()
    assert frame.tail(2)[["output_stride", "backbone"]].isna().all(axis=None)


# --- queries ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("measured > 43.215", ["camvid_x"]),
        ("measured - published > -1 and dataset == 'ade20k'", ["ade20k_r50_os16"]),
        ("not (dataset == 'ade20k') & (measured == measured)", ["camvid_x"]),
        ('dataset in ["camvid", "voc2012"] and measured == measured', ["camvid_x"]),
        ("43 < measured <= 43.21 or row == '003-028' and gap * 2 >= -0.0", ["ade20k_r50_os16", "camvid_x"]),
        ("verdict == 'regressed'", []),
    ],
)
def test_a_query_chooses_rows(query: str, names: list[str]) -> None:
    found = results(a_record(), a_record("ade20k_r50_os16", row="001-06", dataset="ade20k"))
    assert sorted(queried(found.to_frame(), query)["experiment"].dropna()) == names


def test_a_number_compared_with_a_text_is_an_error() -> None:
    frame = results(a_record()).to_frame()
    for query in ('output_stride == "8"', 'measured in ["43.21"]', "1 < dataset", 'dataset in ["camvid", 3]'):
        with pytest.raises(ParamsError, match=r"is a number, .* is a text"):
            queried(frame, query)


def test_what_is_unknown_meets_no_comparison_but_unequal() -> None:
    frame = results(a_record()).to_frame()
    for column in ("measured", "n_images", "run_key"):
        known = queried(frame, f"{column} == {column}")
        assert known["experiment"].tolist() == ["camvid_x"]
        assert len(queried(frame, f"{column} != {column}")) == len(frame) - 1
    assert known.dtypes.equals(frame.dtypes)
    assert len(queried(frame, "n_images != 233")) == len(frame) - 1


HOSTILE = [
    "@secret > 1",
    "measured > @secret",
    "__import__('os').system('touch {witness}') == 0",
    "@pd.io.common.os.system('touch {witness}') == 0",
    "measured.__class__ == 1",
    "experiment.str.contains('a')",
    "experiment.str.len() > 3",
    "(lambda: 1)() == measured",
    "[x for x in (1, 2)] == measured",
    "measured[0] > 1",
    "`measured` > 1",
    "measured > 1; import os",
    "(measured := 3) > 1",
    "measured = 3",
    "f'{measured}' == 'a'",
    "measured > sin(1)",
    "open('{witness}', 'w') == measured",
    "measured ** 999999999 > 1",
    "9 ** 9 ** 9 > measured",
    "'a' * 999999999 == experiment",
    "experiment * 99999999 == 'a'",
    "measured > 1 if measured else 2",
    "measured is None",
    "index > 3",
    "True",
    "3",
    "measured",
    "experiment",
    "1 < 2",
    "",
    "measured >",
    "nothing > 1",
    "measured == None",
    "measured > True",
    "{1: measured} == 1",
    "measured > 'a'",
    "verdict > 1",
    "measured < 1e999999 < 'b'",
    "(" * 300 + "measured" + ")" * 300 + " > 1",
    "not " * 400 + "measured > 1",
    "measured > " + "9" * 5000,
    "measured > " + "1" * 900,
    "measured > 1 and " * 80 + "measured > 1",
    "measured > 1\x00",
]


@pytest.mark.parametrize("query", HOSTILE, ids=lambda query: query[:40])
@pytest.mark.slow
def test_a_hostile_query_is_one_error_and_does_nothing(
    query: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    witness, secret = tmp_path / "witness", "nobody may read this"
    asked = query.replace("{witness}", str(witness))
    answer = RUN.invoke(app, ["list", "--query", asked])
    assert isinstance(answer.exception, ParamsError), secret
    assert answer.exception.exit_code == 2
    text = str(answer.exception)
    assert text.startswith("cannot read the query")
    assert "allowed: experiment, dataset" in text
    assert "--query" in text
    assert not witness.exists()
    assert secret not in text
    assert answer.stdout == ""


def test_no_attribute_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even of a column: what pandas gets has no dot outside of texts and numbers."""
    assert checked("measured > 1.5 and dataset == 'a.b'", {"measured": True, "dataset": False}) == (
        "measured > 1.5 and dataset == 'a.b'"
    )
    with pytest.raises(ParamsError, match="neither a column nor"):
        checked("measured.values > 1", {"measured": True})


@pytest.mark.parametrize("text", ["a@b", "x`y", "__class__", "#", "a'b", 'say "no"', "\\", "\n", "é", "{0}"])
def test_a_text_may_hold_anything(text: str) -> None:
    found = results(a_record()).to_frame()
    assert queried(found, f"experiment == {text!r}").empty
    assert len(queried(found, f"experiment == 'camvid_x' and experiment != {text!r}")) == 1
