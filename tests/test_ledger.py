"""Every claim gets one verdict by the stated rule, or the reason why it has none; no number of ours is typed."""

import re
from fnmatch import fnmatch
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_results import direction, finish, notebooks, value

from lfmlib import claims, contradictions, files, ledger, ledger_report, ledger_tables, verdicts
from lfmlib.data import loaders
from lfmlib.ledger import CONTEXT, NOT_RUN, SEVERITY, TAGS, Judged
from lfmlib.report import Report
from lfmlib.studies import ledger_figures
from lfmlib.verdicts import Verdict

JUDGED = [key for key, claim in claims.load().items() if claim.kind == "claim"]
GROUPS = {"Table 1", "Table 2", "Fig. 4a", "Fig. 4b", "Fig. 4c", "efficiency", "3D-LFM", "statements"}
PLACE = re.compile(r"title|Abstract|References|README|(?:Sec\.|Table|Fig\.|Eq\.|Proposition) [0-9IV]")
NUMBER = re.compile(r"\d+(?:\.\d+)?")

pytestmark = pytest.mark.usefixtures("no_git")


def judged(key, verdict="reproduced", data="real", category="human17_cmu"):
    row = Verdict(key, "1", 1.0, 0.1, 3, data, "O(3)", verdict, "", "", category=category)
    return Judged(row, "05_x", "05_x/verdicts.csv")


# the plan


@pytest.mark.parametrize("key", JUDGED)
def test_every_claim_has_its_place(key):
    entry = ledger.planned(key)
    assert entry["group"] in GROUPS and re.fullmatch(r"\d\d", entry["notebook"])


def test_the_plan_names_nothing_that_is_not_there():
    for part, fields in (("judge", {"keys", "group", "notebook"}), ("needs", {"keys", "what", "command", "stand_in"})):
        for entry in ledger.plan()[part]:
            assert set(entry) == fields
            for pattern in entry["keys"]:
                assert any(fnmatch(key, pattern) for key in JUDGED), pattern
    for entry in ledger.plan()["needs"]:
        for name in re.findall(r"lfm data convert (\w+)", entry["command"]):
            assert name in loaders.LOADERS


def test_a_claim_that_no_entry_fits_is_named():
    with pytest.raises(ValueError, match="no entry of `judge` fits claim 'X9'"):
        ledger.planned("X9")


# which row speaks for a claim


@pytest.mark.parametrize(
    ("best", "other"),
    [
        (dict(category="Human3.6M", data="synthetic"), dict(verdict="contradicted")),
        (dict(data="real"), dict(data="synthetic", verdict="contradicted")),
        (dict(verdict="contradicted"), dict(verdict="reproduced")),
        (dict(verdict="the paper contradicts itself"), dict(verdict="same direction")),
        (dict(verdict="same direction"), dict(verdict="reproduced")),
        (dict(verdict="reproduced"), dict(verdict="not testable here")),
    ],
)
def test_the_headline_follows_the_rule(best, other):
    best, other = judged("T1-Ours-H36M", **best), judged("T1-Ours-H36M", **other)
    for rows in ([best, other], [other, best]):
        assert ledger.headline(claims.get("T1-Ours-H36M"), rows) is best


def test_of_equals_the_first_speaks_and_of_none_nobody():
    first, second = judged("PROP1"), judged("PROP1", category="another")
    assert ledger.headline(claims.get("PROP1"), [first, second]) is first  # printed for no data set: any is the same
    assert ledger.headline(claims.get("PROP1"), []) is None


@given(st.lists(st.tuples(st.sampled_from(SEVERITY), st.sampled_from(TAGS)), min_size=1, max_size=4))
def test_the_headline_never_hides_a_worse_verdict_on_the_same_data(rows):
    entries = [judged("T2-chair", verdict, data) for verdict, data in rows]
    chosen = {ledger.headline(claims.get("T2-chair"), order).verdict for order in permutations(entries)}
    assert len(chosen) == 1, "the order decides only between equals"
    (row,) = chosen
    same = [SEVERITY.index(entry.verdict.verdict) for entry in entries if entry.verdict.data == row.data]
    assert SEVERITY.index(row.verdict) == min(same)


# reading the results


def test_without_results_every_claim_is_open_and_says_what_it_takes():
    found = ledger.read("cpu")
    assert [row.claim.key for row in found.rows] == list(claims.load())
    assert sum(found.counts.values()) == len(JUDGED) and set(found.groups) == GROUPS
    assert {row.state for row in found.rows} == {NOT_RUN, verdicts.NOT_TESTABLE, CONTEXT}
    for row in found.rows:
        assert bool(row.how) == (row.state != CONTEXT) and not row.judged and row.ours == row.votes == ""
    assert "lfm data convert h3wb" in found.row("3DLFM-T1-pa").how
    assert found.row("REF-VP3D").state == CONTEXT
    with pytest.raises(ValueError, match="unknown claim 'F4a-evry-P3D'"):
        found.row("F4a-evry-P3D")


def test_verdicts_are_gathered_over_notebooks(tmp_path):
    notebooks(tmp_path, "04_y", "05_x", "99_report")
    finish("05_x", [direction("T2-chair"), direction("PROP1", 20.0)])
    finish("11_z", [direction("T2-chair", 20.0), value("F4a-every2-H36M")])
    finish("99_report", [direction("T2-sofa")])
    found = ledger.read("cpu", tmp_path)
    chair = found.row("T2-chair")
    assert chair.state == "contradicted" and chair.notebook == "11_z" and len(chair.judged) == 2
    assert chair.votes == "1 contradicted, 1 reproduced" and "lower by" in chair.ours
    assert found.row("T2-sofa").state == NOT_RUN, "the ledger's own notebook judges nothing"
    assert found.counts["contradicted"] == 2 and found.counts["not testable here"] > 1
    other = found.row("F4a-every2-H36M")
    assert other.state == "not testable here" and "lfm data convert human36m" in other.how
    assert [book.name for book in found.notebooks] == ["04_y", "05_x", "11_z"]


def test_an_unfinished_notebook_is_not_run(tmp_path):
    notebooks(tmp_path, "04_y", "05_x", "06_w")
    folder = finish("04_y")
    (folder / "summary.json").unlink()
    finish("06_w", [])
    found = ledger.read("cpu", tmp_path)
    assert [book.finished for book in found.notebooks] == [False, False, True]
    assert found.row("T2-chair").state == NOT_RUN
    assert found.row("T2-chair").how == "./run_all.sh --profile cpu 04"
    assert found.row("SIGMA").how == "06_w was run in profile cpu without a verdict on it"
    assert found.row("F4c-4L-P3D").how == "notebook 07, which is not there yet"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda s: s.pop("headline"), "it has no 'headline'"),
        (lambda s: s.clear(), "summary.json: not a summary that `Report.close` wrote"),
        (lambda s: s["verdicts"][0].update(key="T9-moon"), "judges 'T9-moon', which is no claim"),
        (lambda s: s["verdicts"][0].update(colour="red"), "unexpected keyword argument 'colour'"),
        (lambda s: s["verdicts"][0].update(verdict="perhaps"), "verdict 'perhaps' is none of"),
    ],
)
def test_a_damaged_summary_is_named(change, complaint):
    path = finish() / "summary.json"
    summary = files.read_json(path)
    change(summary)
    files.write_json(path, summary)
    with pytest.raises(ValueError, match=complaint):
        ledger.read("cpu")


def test_the_evidence_is_a_file_that_is_there():
    finish("05_x", [value("T2-mean"), verdicts.statement("PROP1", True, evidence="holds to 1e-7")])
    found = ledger.read("cpu")
    assert found.row("T2-mean").best.evidence == "05_x/table.csv"
    assert found.row("PROP1").best.evidence == "05_x/verdicts.csv" and found.row("PROP1").ours == "holds to 1e-7"


# tables, report and figures


def test_the_tables_hold_every_claim_and_every_verdict():
    finish("05_x", [direction("T2-chair"), direction("T2-chair", 20.0), direction("PROP1")])
    found = ledger.read("cpu")
    per_claim, per_verdict = ledger_tables.per_claim(found), ledger_tables.per_verdict(found)
    assert per_claim["claim"].tolist() == list(claims.load())
    assert per_verdict["claim"].tolist() == ["T2-chair", "T2-chair", "PROP1"]
    assert per_verdict.groupby("claim")["speaks"].sum().eq(1).all()
    chair = per_claim.set_index("claim").loc["T2-chair"]
    assert chair["verdict"] == "contradicted" and chair["ours_mean"] == pytest.approx(-11) and chair["n_seeds"] == 3
    out = Report("99_report")
    for name, table in {"claims": per_claim, "claims_all": per_verdict}.items():
        assert out.table(table, name) is table


def test_the_tables_of_nothing_have_their_columns():
    found = ledger.read("cpu")
    assert len(ledger_tables.per_claim(found)) == len(claims.load())
    assert ledger_tables.per_verdict(found).empty and "verdict" in ledger_tables.per_verdict(found)


def test_the_report_says_what_was_measured():
    finish("05_x", [direction("T2-chair"), value("F4a-every-H36M", 123.4)])
    text = ledger_report.text(ledger.read("cpu"))
    assert text == ledger_report.text(ledger.read("cpu"))
    for key in JUDGED:
        assert f"| {key} |" in text
    assert "flat 20.25, mean 18.5" in text and "05_x/table.csv" in text and "123.4 ± 1 mm, 3 seeds" in text
    finish("05_x", [value("F4a-every-H36M", 77.7)])
    path = ledger_report.write(ledger.read("cpu"))
    assert path.name == "REPORT.md" and path.parent.name == "cpu"
    assert "77.7 ± 1 mm" in path.read_text() and "123.4" not in path.read_text(), "no measurement is typed anywhere"


def test_the_counts_add_up():
    finish("05_x", [direction("T2-chair")])
    *parts, total = ledger_report.counts(ledger.read("cpu"))
    assert {part[0] for part in parts} == GROUPS and total[0] == "all" and total[1] == len(JUDGED)
    for column in range(1, len(total)):
        assert sum(part[column] for part in parts) == total[column]
    assert all(part[1] == sum(part[2:]) for part in (*parts, total))


def test_a_floor_of_a_column_that_is_missing_is_refused():
    folder = finish()
    row = direction("T2-chair", column="epe")
    with pytest.raises(ValueError, match="has no column 'epe', which T2-chair was measured in"):
        ledger_report.floors(row, folder)
    assert ledger_report.floors(direction("T2-chair", category="moon"), folder) == {}
    assert ledger_report.floors(verdicts.statement("PROP1", True, evidence="x"), folder) == {}


def test_the_figures_draw_every_verdict_even_of_nothing():
    for _ in range(2):
        found = ledger.read("cpu")
        radar, bars = ledger_figures.figure_radar(found), ledger_figures.figure_bars(found)
        assert [ax.get_title().partition(":")[0] for ax in radar.axes] == list(ledger.STATES)
        assert sum(bar.get_width() for bar in bars.axes[0].patches) == len(JUDGED)
        finish("05_x", [direction("T2-chair")])


# contradictions

ENTRIES = contradictions.load()


def test_there_are_as_many_contradictions_as_were_found():
    assert len(ENTRIES) >= 16 and len({entry.id for entry in ENTRIES}) == len(ENTRIES)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id)
def test_a_contradiction_quotes_what_is_printed(entry):
    printed = {
        n for c in claims.load().values() for text in (c.value, c.also, c.setting, c.note) for n in NUMBER.findall(text)
    }
    assert len(entry.versions) >= 2 and len({(v.value, v.where) for v in entry.versions}) == len(entry.versions)
    assert entry.what and entry.rule.endswith(".") and entry.measure in ("value", "difference")
    for version in entry.versions:
        assert version.where.startswith(("2D-LFM, ", "3D-LFM, ", "C3DPO, ")) and PLACE.search(version.where), version
        assert len(version.quote.split()) <= 6, "a few words"
        for number in NUMBER.findall(version.value):
            assert number in printed or number in version.quote, f"{number} is neither in claims.csv nor quoted"
    for key in entry.keys:
        assert claims.get(key).kind == "claim"


def test_a_contradiction_is_answered_by_the_ledger_alone():
    headline = next(entry for entry in ENTRIES if entry.id == "human36m-headline")
    assert headline.answers(ledger.read("cpu")) == [f"no measurement yet of {', '.join(headline.keys)}"]
    finish("05_x", [direction("F4a-every-H36M", 20.0), value("F4a-every-H36M", 123.4)])
    found = ledger.read("cpu")
    first, rest = headline.answers(found)
    assert first == "F4a-every-H36M: 123.4 ± 1 mm, 3 seeds on human17_cmu (the paper contradicts itself)"
    assert rest.startswith("no measurement yet of T1-Ours-H36M")
    paired = next(entry for entry in ENTRIES if entry.id == "input-only-fails")
    assert any("lower by -11" in said for said in paired.answers(found)), "a question of two settings: their difference"
    alone = next(entry for entry in ENTRIES if not entry.keys)
    assert alone.answers(found) == ["no claim measures it"]
    assert len(contradictions.table(found)) == len(ENTRIES)
