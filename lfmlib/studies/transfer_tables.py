"""Rows of `transfer` by what they are asked for, and the tables that are made of them."""

from typing import TYPE_CHECKING, Any

from lfmlib.baselines.methods import LFM
from lfmlib.studies.transfer import ALIGNMENT, CHEETAH, EMBEDDING, IMBALANCE, ITSELF, OTHERS, RIGS, UNSEEN
from lfmlib.studies.transfer_measure import TRAINING_MEAN, Study

if TYPE_CHECKING:
    import pandas

TABLE, PERCENT = "10_transfer/table.csv", "% of RMS radius"


def rows_of(study: Study, part: str, training: str, category: str, method: str = LFM) -> "pandas.DataFrame":
    """The rows of one network on one category, in the order of the seeds; the floors by their names and no training."""
    frame = study.table
    name = f"{method}, {training}" if training else method
    mine = (frame["part"] == part) & (frame["method"] == name) & (frame["category"] == category)
    return frame[mine].sort_values("seed")


def errors(study: Study, part: str, training: str, category: str, method: str = LFM, column: str = "o3") -> list[float]:
    """One error per seed."""
    return rows_of(study, part, training, category, method)[column].tolist()


def floor(study: Study, part: str, name: str, category: str) -> list[float]:
    """One O(3) error of a floor per seed."""
    return errors(study, part, "", category, name)


def mean_errors(study: Study, part: str, training: str, categories: list[str], method: str = LFM) -> list[float]:
    """The mean of several categories, per seed."""
    each = [errors(study, part, training, name, method) for name in categories]
    return [sum(values) / len(values) for values in zip(*each, strict=True)]


def tested(study: Study, part: str) -> list[str]:
    """The categories that a part of the study is tested on."""
    return list(dict.fromkeys(study.table[study.table["part"] == part]["category"]))


def rig_pairs(study: Study) -> list[tuple[str, str]]:
    """The pairs of rigs, from the names of the networks that learnt both."""
    trainings = dict.fromkeys(study.table[study.table["part"] == RIGS]["training"])
    return [tuple(training.split(" + ")) for training in trainings if " + " in training]


def widths(study: Study) -> list[int]:
    """Widths of the comparison of embeddings."""
    trainings = study.table[study.table["part"] == EMBEDDING]["training"].unique()
    return sorted({int(text.split()[-1]) for text in trainings if text})


def context(study: Study, category: str, protocol: str, names: list[str] | None = None, **more: Any) -> dict[str, Any]:
    """What a verdict says about where its numbers come from; `names`: the categories behind a mean."""
    frame = study.table
    tags = set(frame[frame["category"].isin(names or [category])]["data"])
    data = "real" if "real" in tags else "synthetic"
    kept = {"column": "o3", "unit": PERCENT, "evidence": TABLE}
    return dict(data=data, category=category, protocol=f"PA-MPJPE, O(3): {protocol}", **kept | more)


def steps_of(study: Study, part: str, training: str, category: str | None = None) -> int:
    """Steps that a network was trained for."""
    frame = study.table[(study.table["part"] == part) & (study.table["training"] == training)]
    return int((frame if category is None else frame[frame["category"] == category])["steps"].iloc[0])


def pooled(each: list[list[float]]) -> list[float]:
    """The mean over some categories, per seed."""
    return [average(list(values)) for values in zip(*each, strict=True)]


def average(values: list[float]) -> float:
    """Their mean."""
    return sum(values) / len(values)


def told(values: list[float]) -> str:
    """Their mean, for a sentence."""
    return f"{average(values):.3g}"


def mirror_mistakes(study: Study) -> "pandas.DataFrame":
    """Share of shapes that come out mirrored, %: per network the mean over its categories and seeds, and its sd."""
    ours = study.table[study.table["training"] != ""]
    shares = 100 * ours.set_index(["part", "method"])["mirror_mistakes"].groupby(level=[0, 1], sort=False).mean()
    return shares.rename("mirror mistakes %").round(1).reset_index()


def readme_table(study: Study) -> "pandas.DataFrame":
    """A few rows in words: never seen, another rig, a rare category, alignment; with the floors."""
    import pandas

    wanted = [(UNSEEN, CHEETAH, (OTHERS, ITSELF), ("flat", "mean", TRAINING_MEAN))]
    wanted += [(RIGS, b, (a, b, f"{a} + {b}"), ("flat", "mean")) for a, b in rig_pairs(study)[:2]]
    frame = study.table[(study.table["part"] == IMBALANCE) & (study.table["training"] == ITSELF)]
    for rare in dict.fromkeys(frame["category"]):
        mine = study.table[(study.table["part"] == IMBALANCE) & (study.table["category"] == rare)]
        wanted.append((IMBALANCE, rare, tuple(t for t in dict.fromkeys(mine["training"]) if t), ("flat", "mean")))
    (name,) = tested(study, ALIGNMENT)
    mine = study.table[study.table["part"] == ALIGNMENT]
    wanted.append((ALIGNMENT, name, tuple(t for t in dict.fromkeys(mine["training"]) if t), ("flat", "mean")))
    return pandas.DataFrame([
        _in_words(part, rows) for part, category, trainings, floors in wanted
        for rows in (*(rows_of(study, part, t, category) for t in trainings),
                     *(rows_of(study, part, "", category, kind) for kind in floors))
    ])  # fmt: skip


def _in_words(part: str, rows: "pandas.DataFrame") -> dict[str, Any]:
    first, words = rows.iloc[0], {"o3": "O(3)", "so3": "SO(3)", "flip": "flip per category"}
    numbers = {word: f"{rows[key].mean():.1f} ± {rows[key].std():.1f}" for key, word in words.items()}
    known = {"flat": "floor: flat", "mean": "floor: mean shape (3D)", TRAINING_MEAN: f"floor: {TRAINING_MEAN} (3D)"}
    learnt = f"{LFM}, trained on {first['training']}" if part in (UNSEEN, RIGS) else first["method"]
    run = known.get(first["method"], learnt)
    mirrored = "" if first["method"] in known else f"{100 * rows['mirror_mistakes'].mean():.0f} %"
    return {"part": part, "data": f"{first['category']}, {first['data']}", "run": run, **numbers,
            "mirror mistakes": mirrored, "seeds": len(rows)}  # fmt: skip


def headline(study: Study) -> dict[str, float]:
    """O(3) errors: the cheetah never seen and seen, its floors, and the share of mirror mistakes of all networks."""
    result = {
        f"cheetah, {training}": average(errors(study, UNSEEN, training, CHEETAH)) for training in (OTHERS, ITSELF)
    }
    for kind in ("flat", "mean", TRAINING_MEAN):
        result[f"cheetah, floor {kind}"] = average(floor(study, UNSEEN, kind, CHEETAH))
    ours = study.table[study.table["method"].str.startswith(LFM)]
    return result | {"mirror mistakes of 3D-LFM, %": float(100 * ours["mirror_mistakes"].mean())}
