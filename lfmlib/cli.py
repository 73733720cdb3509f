"""The command line, `lfm lift | export | train | data | doctor`. Heavy imports stand inside commands: help is instant.

A command is an entry of COMMANDS: a line of help, a function that declares its arguments, one that runs it.
"""

import logging
import os
import sys
import traceback
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from lfmlib import __version__, cli_data, cli_train
from lfmlib.cli_train import DONE, FAILED, STOPPED, WRONG, say
from lfmlib.commands import Command, check_writable, declare

EXPORT_NOTE = """\
The file takes normalised keypoints and gives the shape in the network's own frame. What goes in and comes out stands in
its metadata and in docs/lift_your_keypoints.md."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns 0: done, 1: it ran and failed, 2: it cannot be done as asked, or 130: Ctrl-C."""
    argv = sys.argv[1:] if argv is None else list(argv)
    try:
        args = _parser().parse_args(argv, Namespace(words=argv))
    except SystemExit as end:  # argparse has said what there is to say
        return int(end.code or 0)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("lfm: note: %(message)s"))
    logger = logging.getLogger("lfmlib")
    logger.addHandler(handler)
    try:
        code = COMMANDS[args.command].run(args)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader of our output has enough (`lfm data list | head`)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains once more at its end
        return DONE
    except ModuleNotFoundError as error:
        if args.debug:
            traceback.print_exc()
        say(f"error: {error}: this installation is not complete; set it up again as the README says")
        return FAILED
    except (ValueError, OSError, ImportError) as error:  # ImportError: ours, of an extra that is not installed
        if args.debug:
            traceback.print_exc()
        message = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.strerror else str(error)
        say(f"error: {''.join(c if c.isprintable() else ' ' for c in message)}")  # a file's bytes may be in it
        return WRONG
    except KeyboardInterrupt:
        say("stopped")
        return STOPPED
    finally:
        logger.removeHandler(handler)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="lfm", description="Lifts 2D keypoints to 3D, learnt from 2D alone.")
    parser.add_argument("--version", action="version", version=f"lfm {__version__}")
    declare(parser, COMMANDS, "command")
    return parser


def _lift_arguments(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("input", metavar="IN", help="2D keypoints, .npz .csv or .json: x right, y down, any unit")
    add("output", metavar="OUT", help="where the 3D shapes go, .npz .csv or .json")
    add("--model", default="shipped", metavar="RUN", help="a model.safetensors file, a run's folder, or a run's id "
        "(the network that comes with lfm: see lfmlib/shipped/CARD.md)")  # fmt: skip
    add("--category", metavar="NAME", help="what the keypoints show; needed where the run knows several")
    add("--read-out", choices=("snap", "fit"), default="snap", help="snap: visible keypoints keep their "
        "x and y (default); fit: x and y from the fitted shape, too")  # fmt: skip
    add("--y-up", action="store_true", help="y points up in IN: it is negated on reading; OUT has y down all the same")
    add("--mirror", action="store_true", help="negate the depth: for a run whose shapes come out inside out")
    add("--skip-unusable", action="store_true", help="leave out frames that cannot be lifted (fewer than 3 keypoints)")
    add("--force", action="store_true", help="replace OUT if it exists")
    add("--engine", choices=("torch", "compiled", "onnx"), default="torch", help="what computes: PyTorch (default), "
        "the same through torch.compile, or ONNX Runtime (fast for few frames; needs the extra [onnx])")  # fmt: skip
    add("--device", choices=("cpu", "cuda"), default="cpu", help="where to compute (cpu)")
    _runs_argument(parser)


def _runs_argument(parser: ArgumentParser) -> None:
    parser.add_argument("--runs", metavar="DIR", help="folder of runs (LFM_RUNS, or runs/ of the repository)")


def _lift(args: Namespace) -> int:
    source, target = Path(args.input), Path(args.output)
    _check_target(source, target, args.force)
    import torch

    from lfmlib import lifting
    from lfmlib.data import formats
    from lfmlib.store import RunStore

    if target.suffix.lower() not in formats.SUFFIXES:
        raise ValueError(f"{target}: unknown suffix {target.suffix!r}, expected one of {' '.join(formats.SUFFIXES)}")
    if args.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: torch sees no GPU here (`lfm doctor` says more)")
    given = formats.read_keypoints(source)
    loaded = lifting.load(args.model, RunStore(args.runs), args.device, args.engine)
    rig = loaded.rig(args.category)
    try:
        points, visible, names, frames = formats.match_rig(given, rig)
        if args.y_up:
            points = points * points.new_tensor([1, -1])
        if args.skip_unusable:
            keep = lifting.usable(points, visible)
            if not bool(keep.any()):
                raise ValueError("no frame has 3 visible keypoints in different places")
            points, visible = points[keep], visible[keep]
            frames = tuple(frame for frame, kept in zip(frames, keep.tolist(), strict=True) if kept)
        lifted = lifting.lift(loaded, points, visible, rig.name, args.read_out, frames=frames)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    if args.mirror:
        lifted.shapes[..., 2].neg_()
    formats.write_shapes(target, lifted.shapes, visible, names, frames)

    hidden, left_out = int((~visible).sum()), len(given.frames) - len(frames)
    say(f"{len(frames)} frames of {rig.n} keypoints ({rig.name}) -> {target}")
    say(f"{formats.AXES}; the depth of the visible keypoints has mean 0 in each frame; read-out {args.read_out}")
    worst = int(lifted.residual.argmax())
    say(f"residual of Eq. 1, unit of the input: median {float(lifted.residual.median()):.4g}, "
         f"largest {float(lifted.residual[worst]):.4g} (frame {frames[worst]})")  # fmt: skip
    if left_out:
        say(f"note: {left_out} frames left out: fewer than 3 visible keypoints, or all in one place")
    if hidden:
        say(f"note: {hidden} missing keypoints have a predicted position (visible is 0 or false there)")
        config = loaded.config
        if config.missing == config.dream_missing == 0 and not config.self_occlusion:
            say("note: no keypoint was hidden in this run's training (missing=0): trust predicted positions little")
    return DONE


def _check_target(source: Path, target: Path, force: bool) -> None:
    if target.is_file() and source.exists() and target.samefile(source):
        raise ValueError(f"{target}: OUT is the same file as IN")
    check_writable(target, force)


def _export_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("model", metavar="RUN", help="a model.safetensors file, a run's folder, or a run's id")
    parser.add_argument("output", metavar="OUT", help="where the network goes, .onnx")
    parser.add_argument("--force", action="store_true", help="replace OUT if it exists")
    _runs_argument(parser)


def _export(args: Namespace) -> int:
    target = Path(args.output)
    if target.suffix.lower() != ".onnx":
        raise ValueError(f"{target}: unknown suffix {target.suffix!r}, expected .onnx")
    check_writable(target, args.force)
    from lfmlib import files, lifting, onnx_graph
    from lfmlib.store import RunStore

    loaded = lifting.load(args.model, RunStore(args.runs))
    files.write_bytes(target, onnx_graph.graph(loaded))
    inputs = "keypoints, visible" + ", category" * (len(loaded.rigs) > 1)
    say(f"{inputs} -> {loaded.config.objective.output}, of {', '.join(loaded.names)} -> {target}")
    say(f"keypoints: {onnx_graph.NORMALISATION}")
    return DONE


def _doctor(args: Namespace) -> int:
    from lfmlib import doctor

    results = []
    for result in doctor.examine(args.runs):
        results.append(result)
        print(f"{result.status:<5} {result.text}", flush=True)
        if result.advice:
            print(f"      -> {result.advice}", flush=True)
    counts = {status: sum(r.status == status for r in results) for status in doctor.STATUSES}
    print(", ".join(f"{count} {status}" for status, count in counts.items()))
    return FAILED if counts["fail"] else DONE


COMMANDS = {
    "lift": Command("lift 2D keypoints of a file to 3D", "See docs/lift_your_keypoints.md.", _lift_arguments, _lift),
    "export": Command("write a run's network as ONNX", EXPORT_NOTE, _export_arguments, _export),
    "train": Command("train a lifter from 2D views", cli_train.TRAIN_NOTE, cli_train.arguments, cli_train.run),
    "data": Command("list, make, convert, check or fetch data", cli_data.NOTE, cli_data.arguments, cli_data.run),
    "doctor": Command("check this installation", "Exit code 1 if something fails.", _runs_argument, _doctor),
}

if __name__ == "__main__":
    sys.exit(main())
