"""Verdicts on the numbers that 3D-LFM prints, for data that is not here: their orderings on stand-ins."""

from lfmlib import verdicts
from lfmlib.baselines.methods import C3DPO_ALL, LFM
from lfmlib.studies import transfer
from lfmlib.studies import transfer_tables as tables
from lfmlib.studies.literal import PASCAL
from lfmlib.studies.transfer import ALL, CHEETAH, ITSELF, MACAQUE, OBJECT_INFO, OTHERS, TOGETHER, UNSEEN
from lfmlib.studies.transfer_measure import Study
from lfmlib.studies.transfer_tables import told
from lfmlib.verdicts import Verdict

# what 3D-LFM's Table 2 tests on -> the category that stands for it here
TABLE2 = {"3DLFM-T2-cheetah": CHEETAH, "3DLFM-T2-train": "pascal3d_train", "3DLFM-T2-chimp": MACAQUE}
# numbers of data that is not here -> the loader that takes it in, and the notebook or training that follows
NUMBERS = {
    "3DLFM-T1-mp": ("h3wb", "lfm train h3wb133"), "3DLFM-T1-pa": ("h3wb", "lfm train h3wb133"),
    "3DLFM-T2-cheetah": ("acinoset", "./run_all.sh --profile full 10"),
    "3DLFM-T2-train": ("c3dpo", "./run_all.sh --profile full 10"),
    "3DLFM-T2-chimp": ("mbw", "./run_all.sh --profile full 10"),
}  # fmt: skip


def judge(study: Study) -> list[Verdict]:
    """Fig. 3, Sec. IV.3.1 and Tables 1 and 2."""
    return [*_object_info(study), *_together(study), *_printed(study)]


def _object_info(study: Study) -> list[Verdict]:
    names = tables.tested(study, OBJECT_INFO)
    data_set = "pascal3d_cad" if set(names) <= set(PASCAL) else "synthetic CAD stand-ins"
    bars = {
        "3DLFM-F3-a": (C3DPO_ALL, "no object info"), "3DLFM-F3-b": (C3DPO_ALL, "own places as object info"),
        "3DLFM-F3-c": (LFM, "no object info"), "3DLFM-F3-d": (LFM, "edges as object info"),
    }  # fmt: skip
    found = {
        key: tables.mean_errors(study, OBJECT_INFO, training, names, method) for key, (method, training) in bars.items()
    }
    result = []
    for key, (method, training) in bars.items():
        note = "C3DPO learns from 2D here, in the paper from 3D" if method == C3DPO_ALL else ""
        context = tables.context(study, data_set, f"{method}, {training}", names, note=note)
        result.append(verdicts.value(key, found[key], **context))
        if key[-1] in "bd":
            without = "3DLFM-F3-" + {"b": "a", "d": "c"}[key[-1]]
            context["protocol"] += " against none"
            result.append(verdicts.direction(key, found[key], found[without], versus=without, **context))
    return result


def _together(study: Study) -> list[Verdict]:
    there = tables.tested(study, TOGETHER)
    solid = [name for name in there if name in tables.tested(study, OBJECT_INFO)]
    person = transfer.people(there)
    beasts = [name for name in there if name not in (*solid, person)]
    claims = {
        "3DLFM-S431": solid, "3DLFM-animals": beasts, "3DLFM-openmonkey": [MACAQUE], "3DLFM-amass": [person],
    }  # fmt: skip
    result = []
    for key, names in claims.items():
        alone, combined = (tables.mean_errors(study, TOGETHER, training, names) for training in (ITSELF, ALL))
        steps = [tables.steps_of(study, TOGETHER, training, names[0]) for training in (ALL, ITSELF)]
        of = ", ".join(names) if len(names) < 6 else f"mean of {len(names)} categories"
        result.append(verdicts.direction(
            key, combined, alone, note="stand-ins: compare the direction and the share, not the unit",
            **tables.context(study, of, f"combined ({steps[0]} steps) against isolated ({steps[1]} steps)", names),
        ))  # fmt: skip
    return result


def _printed(study: Study) -> list[Verdict]:
    """Numbers whose data is not here; of Table 2 the ordering is judged on stand-ins."""
    result = []
    for key, (loader, then) in NUMBERS.items():
        name, words = TABLE2.get(key), f"needs the data of loader {loader}; the printed numbers are of its test split"
        ours = tables.errors(study, UNSEEN, OTHERS, name) if name else []
        if ours:
            inside = tables.errors(study, UNSEEN, ITSELF, name)
            words = f"{name} stands in: {told(ours)} unseen, {told(inside)} trained on it, {tables.PERCENT}"
            result.append(verdicts.direction(
                key, inside, ours, note="the ordering alone",
                **tables.context(study, name, "trained on the category itself against never having seen it"),
            ))  # fmt: skip
        command = f'lfm data convert {loader} FOLDER "$LFM_DATA" && {then}'
        result.append(verdicts.statement(key, None, evidence=command, note=words))
    return result
