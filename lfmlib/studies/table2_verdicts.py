"""Verdicts on Table 2, on what Sec. 4.2 says of more categories, and on the epochs of Sec. 3.5."""

import math

from lfmlib import claims, verdicts
from lfmlib.studies import table2_tables as tables
from lfmlib.studies.literal import LITERAL
from lfmlib.studies.table2 import ALONE, EVERYTHING, LEFT_OUT, ROWS, SCALE, Study, row_of
from lfmlib.verdicts import Verdict

STABLE = 0.1  # by which the class mean of the combined network may exceed that of the networks alone
OBTAIN = 'lfm data convert c3dpo FOLDER "$LFM_DATA" && ./run_all.sh --profile full 04'
EPOCHS = {"EPOCH-single": ALONE, "EPOCH-multi": "combined"}


def judge(study: Study) -> list[Verdict]:
    """Verdicts on Table 2, on what Sec. 4.2 says of more categories, and on Sec. 3.5's epochs."""
    result = []
    for key in ROWS:
        rows = [row for setting in tables.settings(study) for row in _judge_row(study, setting, key)]
        why = f"{LEFT_OUT[0]} is one mean shape" if key == "T2-car" else "no such category is there"
        result += rows or [verdicts.statement(key, None, evidence=OBTAIN, note=why)]
    for setting in tables.settings(study):
        result += _judge_mean(study, setting)
    for setting in dict.fromkeys(study.table[study.table["arm"] == SCALE]["setting"]):
        result += _judge_scale(study, setting)
    result += [_judge_epochs(study, key, criterion) for key in EPOCHS for criterion in tables.CRITERIA.values()]
    return [*result, _judge_everything(study), _judge_range(study)]


def _judge_row(study: Study, setting: str, key: str) -> list[Verdict]:
    arm, result = tables.main_arm(study, setting), []
    for name in (n for n in study.categories if row_of(n) == key and n in tables.names_of(study, setting)):
        alone, ours = tables.rows_of(study, setting, ALONE, name), tables.rows_of(study, setting, arm, name)
        flat = f"{setting}: {(alone['health'] == 'flat').sum()} of {len(alone)} runs alone ended flat"
        result.append(verdicts.direction(
            key, ours["flip"].tolist(), alone["flip"].tolist(), data=ours["data"].iloc[0], category=name, column="flip",
            unit="% of RMS radius", protocol=_protocol(study, setting, arm), evidence="04_table2/table2.csv", note=flat,
        ))  # fmt: skip
    return result


def _judge_mean(study: Study, setting: str) -> list[Verdict]:
    """The mean improvement as value and as ordering over Table 2's rows, and "overall stable" over all categories."""
    arm, every = tables.main_arm(study, setting), tables.names_of(study, setting)
    listed = [name for name in every if row_of(name)]
    context = dict(data=tables.tag(study), protocol=_protocol(study, setting, arm), evidence="04_table2/table2.csv")
    alone, ours = (tables.class_mean(study, setting, a, listed) for a in (ALONE, arm))
    keys = {row_of(name) for name in listed}
    measured = f"{len(listed)} stand-ins for {len(keys)} of the 7 rows"
    gain = tables.mean_gain(study, setting, listed)
    before, after = (float(tables.class_mean(study, setting, a, every).mean()) for a in (ALONE, arm))
    flat = tables.floors(study, every)["flat"]
    holds = after <= (1 + STABLE) * before if before < flat else None  # what is no shape has nothing to keep stable
    told = f"{setting}: class mean {before:.3g} alone, {after:.3g} combined, flat floor {flat:.3g}"
    return [
        verdicts.value("T2-mean", gain, unit="%", category=measured, note=setting, **context),
        verdicts.direction("T2-mean", ours, alone, category=measured, unit="% of RMS radius", note=setting, **context),
        verdicts.statement(
            "SCALE-cat", holds, category=tables.data_of(every), **context,
            note=f"{told}; stable is up to {100 * STABLE:g} % above alone, where alone is below the floor",
        ),
    ]  # fmt: skip


def _judge_scale(study: Study, setting: str) -> list[Verdict]:
    frame = tables.scale(study)
    mine = frame[frame["training"] == setting]
    result = []
    for column, unit in ((tables.FIRST, "% of RMS radius"), (tables.MEAN, "% of the flat floor")):
        wide = mine.pivot(index="seed", columns="categories", values=column)
        what = study.categories[0] if column == tables.FIRST else "mean of those trained together"
        counts = f"{wide.columns[0]} to {wide.columns[-1]} categories"
        protocol = f"{setting}, {counts}, equal samples of each, over the log count"
        logs, errors = [math.log(n) for n in wide.columns], wide.to_numpy().tolist()
        result.append(verdicts.trend(
            "SCALE-cat", logs, errors, falls=True, data=tables.tag(study), category=what, unit=unit, protocol=protocol,
            evidence="04_table2/fig_scale.png", note=f"{setting}, {what}",
        ))  # fmt: skip
    return result


def _judge_epochs(study: Study, key: str, criterion: str) -> Verdict:
    """Judged on paper-literal runs that last as long as the printed range; the others could not show it."""
    needed = claims.get(key).spans[0].high
    frame = tables.epochs(study)
    mine = frame[
        frame["arm"].str.startswith(EPOCHS[key]) & (frame["training"] == LITERAL)
        & frame["own frames"] & (frame["criterion"] == criterion)
    ]  # fmt: skip
    long = mine[mine["epochs of the run"] >= needed]
    context = dict(data=tables.tag(study), evidence="04_table2/epochs.csv")
    if long.empty:
        longest = mine["epochs of the run"].max()
        note = f"the longest run with frames of its own lasts {longest:.2g} epochs, it takes {needed:g}"
        return verdicts.statement(key, None, protocol=criterion, note=note, **context)
    names = ", ".join(str(name) for name in dict.fromkeys(long["categories"]))
    protocol = f"{LITERAL}: until within 10 % of the last value of {criterion}; the learning rate falls to 0 at the end"
    per_seed = long.groupby("seed")["epochs until close"].mean()
    return verdicts.value(key, per_seed, unit="epochs", category=names, protocol=protocol, **context)


def _judge_everything(study: Study) -> Verdict:
    rows = study.table[study.table["arm"] == EVERYTHING]
    taken = rows[rows["flip"].notna()].groupby("seed")["category"].nunique()
    means = rows.groupby("category")["flip"].mean()
    levels = {name: tables.floors(study, [name]) for name in means.index}
    flat, mean = (sum(means[name] < levels[name][floor] for name in levels) for floor in ("flat", "mean"))
    note = f"after {int(rows['steps'].iloc[0])} steps {flat} of them below the flat floor, {mean} below the mean shape"
    tags = rows.drop_duplicates("category")["data"].value_counts().to_dict()
    return verdicts.value(
        "CAT-45", taken, unit="categories", data=tables.tag(study), note=note, evidence="04_table2/table.csv",
        category=", ".join(f"{number} {tag}" for tag, number in tags.items()),
        protocol="categories that one paper-literal network was trained and measured on",
    )  # fmt: skip


def _judge_range(study: Study) -> Verdict:
    frames = study.table[study.table["arm"] == ALONE]["frames"]
    told = f"{int(frames.min())} to {int(frames.max()):,} training frames per category"
    return verdicts.statement("CAT-range", None, data=tables.tag(study), evidence="04_table2/table2.csv", note=told)


def _protocol(study: Study, setting: str, arm: str) -> str:
    steps = [int(tables.rows_of(study, setting, a)["steps"].iloc[0]) for a in (ALONE, arm)]
    return f"{setting}: {arm} ({steps[1]} steps) against alone ({steps[0]} steps), paired by seed, per-category flip"
