"""Encodings, depth and the other switches: what the grids hold and share, and what is shown and judged of them."""

import math
from dataclasses import replace

import pandas
import pytest

from lfmlib.encodings import ENCODINGS, encode
from lfmlib.model import Lifter
from lfmlib.report import RESULT_COLUMNS
from lfmlib.rigs import Rig
from lfmlib.store import RunStore
from lfmlib.studies import ablation, depth, encodings, encodings_report, injection, literal, switches
from lfmlib.studies.literal import LITERAL, Size

SIZE = Size(1, 16, 2, 20)
BARE = Rig(name="bare", keypoints=("a", "b", "c", "d"), edges=(), unit="unit", mm=None)


@pytest.fixture(autouse=True)
def one_synthetic_set(monkeypatch):
    monkeypatch.delenv("LFM_DATA", raising=False)
    monkeypatch.setattr(literal, "sets", lambda: {"synthetic_aeroplane8": ("synthetic_aeroplane8",)})


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return RunStore(tmp_path_factory.mktemp("runs"))


def configs(arms):
    return {(arm.set, *arm.columns.values(), arm.config.seed): arm.config for arm in arms}


def test_the_rff_runs_are_those_of_the_study_on_injection():
    ours = {arm.config for arm in encodings.grid(SIZE, (), weights=(1.0, 10.0), sigmas=())}
    theirs = {arm.config for arm in injection.grid(SIZE, weights=(1.0, 10.0))}
    assert ours == theirs


def test_the_runs_as_printed_are_shared_with_the_other_studies():
    theirs = {arm.config for arm in injection.grid(SIZE, weights=(1.0, 10.0)) if arm.columns["injection"] == "every"}
    assert {arm.config for arm in depth.grid(SIZE, (SIZE.depth,))} == theirs
    assert {arm.config for arm in switches.grid(SIZE) if arm.columns["switch"] == switches.AS_PRINTED} == theirs


def test_an_encoding_runs_at_every_injection_and_weight_and_differs_in_nothing_else():
    arms = configs(encodings.grid(SIZE, ("vit", "laplacian"), ("input", "every"), (1.0, 10.0), ()))
    for kind in ("vit", "laplacian"):
        for where in ("input", "every"):
            for alpha in (1.0, 10.0):
                run = arms["synthetic_aeroplane8", kind, where, alpha, encodings.SIGMA, 0]
                rff = arms["synthetic_aeroplane8", "rff", where, alpha, encodings.SIGMA, 0]
                assert replace(run, model=replace(run.model, encoding="rff")) == rff
    with pytest.raises(ValueError, match="unknown encoding 'laplace'.*did you mean 'laplacian'"):
        encodings.grid(SIZE, ("laplace",))
    assert set(encodings.KINDS) == set(ENCODINGS) - {"none"}


def test_the_sweep_changes_sigma_alone_on_the_first_set():
    swept = [arm for arm in encodings.grid(SIZE, (), sigmas=(0.5, 2.5)) if arm.columns["sigma"] != encodings.SIGMA]
    assert len(swept) == 3 and {arm.config.model.sigma for arm in swept} == {0.5}
    (literal_run,) = [replace(arm.config, model=replace(arm.config.model, sigma=2.5)) for arm in swept[:1]]
    assert literal_run == literal.run(("synthetic_aeroplane8",), SIZE, 0, {"alpha": 10.0})


def test_a_rig_without_edges_gets_no_graph_encoding_and_is_named(monkeypatch):
    with pytest.raises(ValueError, match="'bare' has no edges"):
        encode("laplacian", BARE, 16)
    assert encodings.left_out(SIZE, ("laplacian", "vit")) == []
    monkeypatch.setattr(encodings, "rigs", lambda *_: (BARE,))
    kinds = {arm.columns["encoding"] for arm in encodings.grid(SIZE, ("laplacian", "vit"), sigmas=())}
    assert kinds == {"none", "rff", "vit"}
    (words,) = encodings.left_out(SIZE, ("laplacian", "vit"))
    assert words == "synthetic_aeroplane8: no laplacian, because bare has no edges"


@pytest.fixture
def encoded(store):
    arms = encodings.grid(SIZE, ("vit", "laplacian"), ("input", "every"), (1.0, 10.0), (0.5,))
    return encodings.measure(arms, workers=0, store=store)


def test_the_study_on_encodings_shows_and_judges_what_it_measured(encoded):
    assert set(RESULT_COLUMNS) <= set(encoded.table.columns)
    assert {"flat", "mean", LITERAL, "no encoding", "vit, injection input, weight 10"} <= set(encoded.table["method"])
    as_printed = encoded.table[encoded.table["method"] == LITERAL]
    assert len(as_printed) == 3 and set(as_printed["encoding"]) == {"rff"} and set(as_printed["stop"]) == {"last"}
    judged = encodings_report.judge(encoded)
    printed = {f"{key}-P3D" for key in encodings_report.CLAIMS.values()}
    assert {verdict.key for verdict in judged} == printed | {"PE-second", "SIGMA"}
    assert all(verdict.n_seeds == 3 for verdict in judged if verdict.ours_mean is not None)
    assert {pick["how"] for pick in encodings.best_weights(encoded).to_dict("records")} == {
        "weight 1", encodings.BY_EQ1, injection.BY_3D, "floor: flat", "floor: mean"
    }  # fmt: skip
    runs = encodings.readme_table(encoded)["run"].tolist()
    assert "floor: mean shape (3D)" in runs
    for kind in ("rff", "vit", "laplacian"):  # one row where both choose the same weight
        mine = " ".join(run for run in runs if run.startswith(f"{kind}, every layer, weight "))
        assert mine.count(encodings.BY_EQ1) == mine.count(injection.BY_3D) == 1
    assert len(encodings.headline(encoded)) == 4


def test_the_weight_chosen_by_eq1_is_that_of_the_least_eq1(encoded):
    chosen = encodings.best_weights(encoded)
    last = literal.as_fitted(literal.overall(encoded))
    for pick in chosen[chosen["how"] == encodings.BY_EQ1].to_dict("records"):
        if pick["encoding"] != "none":
            mine = last[(last["encoding"] == pick["encoding"]) & (last["injection"] == pick["injection"])]
            means = encodings.at_sigma(mine).groupby("alpha")["eq1"].mean()
            assert means[pick["weight"]] == means.min()


def test_codes_are_described_beside_their_errors(encoded):
    codes = encodings.codes(encoded, SIZE).set_index(["encoding", "sigma"])
    assert codes.loc[("vit", 2.5), "neighbour similarity"] > codes.loc[("rff", 2.5), "neighbour similarity"]
    assert codes.loc[("vit", 2.5), "condition number"] > 1e3 * codes.loc[("laplacian", 2.5), "condition number"]
    assert math.isnan(codes.loc[("rff", 0.5), "error, weight 1"])  # the sweep runs at one weight


def frame(**columns):
    return pandas.DataFrame(columns)


def test_ranges_are_taken_seed_by_seed():
    rows = frame(
        seed=[0, 0, 0, 1, 1, 1], encoding=["rff", "vit", "rff"] * 2, injection=["every", "every", "input"] * 2,
        flip=[1.0, 4.0, 2.0, 5.0, 5.5, 1.0],
    )  # fmt: skip
    assert list(encodings.ranges(rows).values()) == [[3.0, 0.5], [1.0, 4.0]]


@pytest.mark.parametrize(("best", "verdict"), [(2.5, "reproduced"), (5.0, "contradicted")])
def test_sigma_is_judged_by_the_least_mean_error(best, verdict):
    tried = [(sigma, seed) for sigma in (1.0, 2.5, 5.0) for seed in range(3)]
    swept = frame(
        sigma=[sigma for sigma, _ in tried], seed=[seed for _, seed in tried], alpha=10.0, step=9, data="synthetic",
        set="synthetic_body17", flip=[abs(sigma - best) + 0.01 * seed for sigma, seed in tried],
    )  # fmt: skip
    floor = frame(set="synthetic_body17", method=["flat", "mean"], flip=1.0)
    first, *others = encodings_report._judge_sigma(swept, floor)
    assert first.verdict == verdict and len(others) == 2
    assert [row.verdict == "reproduced" for row in others] == [True, best == 2.5]
    assert ["above the flat floor, 1" in row.note for row in others] == [best != 2.5] * 2
    assert encodings_report._judge_sigma(swept[:0], floor) == []


@pytest.fixture
def deep(store):
    arms = depth.grid(SIZE, (4, 12, 24))
    return arms, depth.measure(arms, workers=0, store=store)


def test_the_study_on_depth_shows_and_judges_what_it_measured(deep):
    arms, study = deep
    assert f"24 layers, {LITERAL} (weight 1)" in set(study.table["method"])
    judged = depth.judge(study)
    assert {verdict.key for verdict in judged} == {"F4c-4L-P3D", "F4c-12L-P3D", "F4c-24L-P3D"}
    assert [verdict.measure for verdict in judged].count("value") == 3
    assert sum("trend" in verdict.protocol for verdict in judged) == 2  # one per weight
    costs = depth.costs(arms)
    networks = {arm.config.model.depth: Lifter(arm.config.model, [BARE]) for arm in arms}
    per_layer = [sum(p.numel() for p in network.layers[0].parameters()) for network in networks.values()]
    steps = costs["parameters"].diff().dropna().tolist()
    assert steps == [8 * per_layer[0], 12 * per_layer[0]]
    assert costs["forward MFLOP"].is_monotonic_increasing
    assert (costs["training MFLOP"] > 2 * costs["forward MFLOP"]).all()
    table = depth.table(study, costs)
    assert len(table) == 3 and {"error, weight 1", "error, weight 10"} <= set(table.columns)
    assert len(depth.readme_table(study)) == 2 * 2 + 2 and len(depth.headline(study)) == 4


def test_depth_is_judged_by_the_fall_of_the_error(deep):
    _, study = deep
    table = study.table.assign(flip=study.table["flip"].where(study.table["layers"].isna(), 40 - study.table["layers"]))
    table["flip"] += 0.01 * table["seed"]
    falls = [v for v in depth.judge(replace(study, table=table)) if v.measure != "value"]
    assert {v.verdict for v in falls} <= {"reproduced", "same direction"}
    table["flip"] = 80 - table["flip"]
    rises = [v for v in depth.judge(replace(study, table=table)) if v.measure != "value"]
    assert {v.verdict for v in rises} == {"contradicted"} and all("reversed" in v.note for v in rises)


def test_each_switch_changes_one_thing():
    arms = configs(switches.grid(SIZE, (10.0,)))
    base = arms["synthetic_aeroplane8", switches.AS_PRINTED, 10.0, 0]
    differences = {}
    for (_, switch, _, seed), config in arms.items():
        ours, theirs = config.as_dict(complete=True), base.as_dict(complete=True)
        flat = [{(k, j): v for k, part in c.items() if isinstance(part, dict) for j, v in part.items()} | {
            (k,): v for k, v in c.items() if not isinstance(v, dict)} for c in (ours, theirs)]  # fmt: skip
        if seed == 0:
            differences[switch] = {key[-1] for key in flat[0] if flat[0][key] != flat[1][key]}
    assert list(differences.values()) == [set(), {"camera"}, {"into"}, {"keep_input"}]


def test_the_switches_are_measured_with_both_ways_of_stopping_and_compared_seed_by_seed(store):
    study = switches.measure(switches.grid(SIZE, (1.0,)), workers=0, store=store)
    assert set(RESULT_COLUMNS) <= set(study.table.columns)
    wanted = {*switches.SWITCHES, *switches.STOPS.values(), ""}
    assert set(study.table["switch"]) == wanted
    assert (study.table.groupby("method")["seed"].nunique() == 3).all()
    assert study.table["category"].nunique() == 1 and not study.table[["o3", "so3", "flip"]].isna().any(axis=None)
    effects = switches.effects(study).set_index("switch")
    assert effects.loc[switches.AS_PRINTED, "difference"] == 0
    for switch, rows in study.table[study.table["alpha"].notna()].groupby("switch"):
        base = ablation.errors(study.table, method=LITERAL)
        mean = sum(ablation.errors(rows)) / 3 - sum(base) / 3
        assert effects.loc[switch, "difference"] == pytest.approx(mean, abs=1e-9)
    assert (effects["low"] <= effects["difference"]).all() and (effects["difference"] <= effects["high"]).all()


def test_stopping_by_eq1_takes_the_point_with_the_least_one():
    curves = frame(
        set="synthetic_body17", switch="x", alpha=1.0, seed=[0, 0, 0, 1, 1, 1], read_out="fit", step=[1, 2, 3] * 2,
        eq1=[3.0, 1.0, 2.0, 1.0, 2.0, 3.0], flip=range(6), category="",
    )  # fmt: skip
    snapped = curves.assign(read_out="snap", eq1=0.0)
    chosen = switches.stopped_by_eq1(pandas.concat([curves, snapped], ignore_index=True))
    assert chosen["step"].tolist() == [2, 1] and set(chosen["category"]) == {"synthetic_body17"}
