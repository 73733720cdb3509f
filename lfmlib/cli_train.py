"""`lfm train`: a run from the command line, with its progress and its errors beside the floors."""

import difflib
import json
import os
import shlex
import sys
import time
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lfmlib.runs import RunConfig
    from lfmlib.store import RunStore

DONE, FAILED, WRONG, STOPPED = 0, 1, 2, 130  # exit codes: all well; ran and failed; cannot be done; Ctrl-C
OPTIONS = {  # options of `lfm train` that stand for a field of the configuration: (name, type, field, help)
    "steps": (int, "steps", "training steps (2000)"),
    "batch": (int, "batch", "samples per step (64)"),
    "lr": (float, "lr", "learning rate of AdamW, cosine schedule (1e-3; the paper: 1e-4)"),
    "seed": (int, "seed", "of weights, batches and cameras (0)"),
    "width": (int, "model.width", "D (64)"),
    "depth": (int, "model.depth", "layers (4)"),
    "heads": (int, "model.heads", "attention heads (4)"),
    "injection": (str, "model.injection", "where Phi enters: none, input, first_last, every_2nd, every (every)"),
    "encoding": (str, "model.encoding", "vit, rff (default), rff_sqrt2, rff_mc, laplacian, learned, orthonormal, none"),
    "alpha": (float, "model.alpha", "encoding weight (1)"),
}  # fmt: skip
SECTIONS = ("model", "objective", "cameras", "recipe")
TRAIN_NOTE = """\
A CATEGORY is a synthetic one (synthetic_body17, synthetic_chair10, ...), one whose file is in the folder that LFM_DATA
names, or the path of a file: .npz with 3D shapes, from which 2D views are drawn, or .npz, .csv or .json with your own
2D keypoints, as `lfm lift` takes them. Training sees 2D only.
The defaults are the paper as printed (Eq. 1 alone, analytic RFF at weight 1 in every layer, AdamW) apart from the sizes
and the learning rate, which suit a small computer. Eq. 1 alone does not determine depth; for shapes to use, take
  lfm train CATEGORY --recipe
which first learns a shape model from the pictures and then trains the network on what that model dreams (not in the
paper; still 2D alone). Options and --set then change the recipe's settings, such as --set recipe.evidence=70000.
A run that was stopped or killed goes on when the same command is given again. Several GPUs share one run's batches:
  torchrun --nproc_per_node 8 -m lfmlib.cli train CATEGORY --device cuda"""


def say(text: str) -> None:
    """One line to the person, on stderr."""
    print(f"lfm: {text}", file=sys.stderr, flush=True)


def arguments(parser: ArgumentParser) -> None:
    """Declares the arguments of `lfm train`."""
    add = parser.add_argument
    add("categories", nargs="*", metavar="CATEGORY", help="what to train on, together in one network")
    for name, (kind, _, text) in OPTIONS.items():
        add(f"--{name}", type=kind, help=text)
    add("--recipe", action="store_true", help="the project's own 2D-only recipe instead of the paper's objective")
    add("--config", metavar="FILE", help="JSON file of settings, such as a run's config.json; options override it")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="any setting, such as objective.low_rank=0.01")
    add("--print-config", action="store_true", help="print every setting as JSON, and stop")
    add("--runs", metavar="DIR", help="folder of runs (LFM_RUNS, or runs/ of the repository)")
    add("--device", default="cpu", choices=("cpu", "cuda"), help="where to train (cpu)")


def run(args: Namespace) -> int:
    """Trains, or goes on, and shows the errors beside the floors; returns an exit code."""
    config = _run_config(args)
    if args.print_config:
        print(json.dumps(config.as_dict(), indent=1))
        return DONE
    from lfmlib import distributed, training
    from lfmlib.store import RunStore

    store, progress = RunStore(args.runs), Progress(config.steps)
    if distributed.launched() and os.environ["RANK"] != "0":  # the first process does the talking
        return DONE if training.train(config, store, args.device)["status"] == "done" else FAILED
    say(f"training {', '.join(config.categories)} on {args.device}: {config.steps} steps, runs in {store.root}")
    if config.recipe is not None:
        say("before the first step the shapes of each category are learnt from its pictures: up to a minute or two")
    try:
        record = training.train(config, store, args.device, progress)
    except KeyboardInterrupt:
        progress.close()
        say(f"stopped; at most the last {training.CHECKPOINT_SECONDS:.0f} seconds will be done again. To go on:")
        say(f"  {shlex.join(['lfm', *args.words])}")
        return STOPPED
    progress.close()
    if progress.last is None:
        say("this run was finished before; these are its errors")
    return _show(config, record, store)


def _run_config(args: Namespace) -> "RunConfig":
    """The run that the arguments ask for: the defaults, then --config, then the options, then --set."""
    from lfmlib import data, files, rigs
    from lfmlib.data.formats import SUFFIXES
    from lfmlib.lifting import run_config
    from lfmlib.recipe.preset import recipe_run
    from lfmlib.runs import RunConfig

    content = files.read_json(args.config) if args.config else {}
    with_recipe = args.recipe or (isinstance(content, dict) and content.get("recipe") is not None)
    plain = recipe_run(("?",)) if with_recipe else RunConfig(categories=("?",))
    settings = plain.as_dict(complete=True)
    if args.config:
        for key, value in dotted(content, args.config).items():
            _put(settings, key, value, args.config)
    for name, (_, key, _) in OPTIONS.items():
        if getattr(args, name) is not None:
            _put(settings, key, getattr(args, name), f"--{name}")
    for text in args.set:
        key, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--set {text}: expected key=value")
        try:
            _put(settings, key, json.loads(value), "--set")
        except json.JSONDecodeError:  # a word
            _put(settings, key, value, "--set")
    settings["categories"] = args.categories or settings["categories"]
    if settings["categories"] == ["?"]:
        raise ValueError("no CATEGORY to train on; `lfm data list` shows those that there are")
    for name in settings["categories"]:
        if Path(name).suffix.lower() not in SUFFIXES and name not in data.real.available():
            rigs.get(name)  # unknown: says what comes near
    return run_config(settings)


def dotted(content: Any, where: str, prefix: str = "") -> dict[str, Any]:
    """{"model": {"width": 8}} -> {"model.width": 8}."""
    if not isinstance(content, dict):
        raise ValueError(f"{where}: {prefix or 'the file'} is {type(content).__name__}, expected an object of settings")
    flat = {}
    for key, value in content.items():
        nested = isinstance(value, dict) or (value is not None and f"{prefix}{key}" in SECTIONS)
        flat |= dotted(value, where, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return flat


def _put(settings: dict[str, Any], key: str, value: Any, where: str) -> None:
    """Sets one value, if there is such a setting and the value is of its kind."""
    known = dotted(settings, "settings")
    if key == "recipe" and value is None and "recipe" in known:
        return
    if key not in known:
        near = difflib.get_close_matches(key, known, n=3, cutoff=0.5) or list(known)
        raise ValueError(f"{where}: no setting {key!r}; did you mean {', '.join(near)}?")
    old = known[key]
    kinds = {bool: "true or false", int: "a whole number", float: "a number", str: "a word", list: "a list"}
    kinds[type(None)] = "a number or null"
    fits = type(value) is type(old) or (isinstance(old, float) and type(value) is int)
    if old is None:  # a number, or nothing
        fits = value is None or (isinstance(value, int | float) and not isinstance(value, bool))
    if isinstance(old, list) and fits:
        numbers = all(isinstance(item, int | float) for item in old)
        fits = all(isinstance(item, int | float if numbers else str) for item in value)
        fits = fits and (key != "betas" or len(value) == 2)
    if not fits:
        raise ValueError(f"{where}: {key} is {value!r}, expected {kinds[type(old)]}, such as {json.dumps(old)}")
    if isinstance(old, float) or key == "betas":  # 1 and 1.0 are one setting, with one run id
        value = float(value) if isinstance(old, float) else [float(item) for item in value]
    *path, last = key.split(".")
    for part in path:
        settings = settings[part]
    settings[last] = value


class Progress:
    """Points of the curve as they come: one line that is written over on a terminal, a line each elsewhere."""

    def __init__(self, steps: int) -> None:
        self.steps, self.live = steps, sys.stderr.isatty()
        self.started, self.last = time.monotonic(), None

    def __call__(self, point: dict[str, Any]) -> None:
        now, step = time.monotonic(), point["step"]
        parts = [f"step {step}/{self.steps}", "diverged" if point["loss"] is None else f"loss {point['loss']:.4g}"]
        if "test" in point:
            parts.append(f"Eq. 1 {point['test']['eq1']:.3g}")
            if point["test"]["fit"]:
                fit, snap = (point["test"][kind][-1]["flip"] for kind in ("fit", "snap"))
                parts[-1] += f", error {fit:.1f} % (fit), {snap:.1f} % (snap)"
        parts.append(f"{now - self.started:.0f} s")
        if self.last and step < self.steps:
            rate = (now - self.last[0]) / max(1, step - self.last[1])
            parts[-1] += f", {rate * (self.steps - step):.0f} s to go"
        self.last = (now, step)
        text = "lfm: " + " | ".join(parts)
        print(f"\r{text}\x1b[K" if self.live else text, end="" if self.live else "\n", file=sys.stderr, flush=True)

    def close(self) -> None:
        if self.live and self.last:
            print(file=sys.stderr)


def _show(config: "RunConfig", record: dict[str, Any], store: "RunStore") -> int:
    folder = store.folder(record["id"])
    print(f"run {folder}")
    if record["status"] != "done":
        say("error: the run diverged, its loss is not finite; try a smaller --lr")
        return FAILED
    from lfmlib import evaluation, experiments

    state = evaluation.health(record["final"]["validation"].get("depth", 1.0))
    if state != "ok":
        say(f"warning: the lifted shapes are {state}; this run has not found the depth (told from its shapes alone)")
    for woken in record.get("wake", ()):
        for doubt in woken["doubts"]:
            say(f"warning: {woken['category']}: {doubt}; its shapes are the rigid mean shape")
    final = record["final"]["test"]
    if not final["fit"]:
        print("2D keypoints alone: nobody knows the error. Pictures that training has not seen become shapes "
              f"{final['depth']:.2f} times as deep as the pictures are large, with Eq. 1 {final['eq1']:.3g}")
        print(f"to use it: lfm lift IN OUT --model {shlex.quote(str(folder))}")
        return DONE
    floors = experiments.floor_rows(config, [config.seed])
    methods = {f"this run, {kind}": final[kind] for kind in ("fit", "snap")}
    for method, name in (("flat", "floor: flat"), ("mean", "floor: mean shape (3D)")):
        methods[name] = [row for row in floors if row["method"] == method]
    print(f"\nPA-MPJPE, {config.test_views} test views per category, % of the RMS radius; mm by the per-category flip")
    print(f"{'':<50}{'O(3)':>7}{'SO(3)':>7}{'flip':>7}{'mm':>8}")
    for place, category in enumerate(row["category"] for row in final["fit"]):
        for method, rows in methods.items():
            row = rows[place]
            mm = "" if row["mm"] is None else f"{row['mm']:.1f}"
            numbers = f"{row['o3']:>7.1f}{row['so3']:>7.1f}{row['flip']:>7.1f}{mm:>8}"
            print(f"{category[:23]:<24}{method:<26}{numbers}")
    print(f"\nto use it: lfm lift IN OUT --model {shlex.quote(str(folder))}")
    inside_out = []
    for own, flat in zip(final["snap"], methods["floor: flat"], strict=True):
        if own["flip"] < flat["flip"]:
            inside_out += [own["category"]] * bool(own["mirrored"])
        else:
            mixed = own["o3"] < flat["o3"]
            why = f"{own['mirror_mistakes']:.0%} of the shapes are inside out" if mixed else "its depth means nothing"
            print(f"{own['category']}: no better than the flat shape: {why}")
    if inside_out:
        print(f"seen against the 3D truth of the test, add --mirror for {', '.join(inside_out)} (2D alone cannot tell)")
    return DONE
