"""`lfm data`: what there is to train on, the benchmark as files, other projects' files, checks, and downloads."""

import argparse
import json
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from lfmlib.cli_train import DONE, FAILED, say
from lfmlib.commands import Command, check_writable, declare

if TYPE_CHECKING:
    from lfmlib.data.loaders import Loader

NOTE = """\
  lfm data list                      every category, and whether it is here
  lfm data make CATEGORY OUT.npz     a part of the embedded benchmark as a file
  lfm data convert FORMAT IN OUT     another project's files to this project's .npz
  lfm data check FILE                everything that is wrong with a file
  lfm data fetch NAME --to DIR       download what a measured set is built from
`lfm data ACTION --help` says more."""


def arguments(parser: ArgumentParser) -> None:
    """Declares the actions of `lfm data` and their arguments."""
    declare(parser, ACTIONS, "action", default=argparse.SUPPRESS)  # a default would undo `lfm data --debug list`


def run(args: Namespace) -> int:
    """Runs one action; returns an exit code."""
    return ACTIONS[args.action].run(args)


def _list_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="as JSON, one object for each category")
    parser.add_argument("--family", metavar="F", help="only the categories of one family, such as human or furniture")


def _list(args: Namespace) -> int:
    from lfmlib.data import listing

    rows = listing.rows(args.family)
    print(json.dumps([row._asdict() for row in rows], indent=1) if args.json else listing.table(rows))
    return DONE


def _make_arguments(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("category", metavar="CATEGORY", help="a synthetic category, see lfm data list")
    add("output", metavar="OUT.npz", help="file to write")
    add("--count", type=int, metavar="N", help="frames (as many as the benchmark has, at most 4000)")
    add("--seed", type=int, default=0, metavar="S", help="of the draw (0)")
    add("--force", action="store_true", help="replace OUT.npz if it exists")


def _make(args: Namespace) -> int:
    target = Path(args.output)
    _check_file(target, args.force)
    from lfmlib.data import real, synthetic

    shapes = synthetic.generate(args.category, args.count, args.seed)
    real.save(shapes, target)
    say(f"{len(shapes)} frames of {shapes.rig.n} keypoints ({args.category}, {shapes.rig.unit}) -> {target}")
    return DONE


def _convert_arguments(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("format", nargs="?", metavar="FORMAT", help="layout of the files, see --list")
    add("source", nargs="?", metavar="SOURCE", help="what the format expects, see lfm data convert FORMAT --list")
    add("output", nargs="?", metavar="OUT", help="a .npz file, or a folder that gets one for each category")
    add("--every", type=int, default=1, metavar="K", help="keep every K-th frame of each recording (1)")
    add("--list", action="store_true", help="show the formats, or what FORMAT expects and gives")
    add("--force", action="store_true", help="replace files that exist")


def _convert(args: Namespace) -> int:
    from lfmlib.data import formats, loaders, npz_files

    if args.list:
        names = loaders.LOADERS if args.format is None else (args.format,)
        print("\n".join(_described(loaders.get(name), args.format is not None) for name in names))
        return DONE
    if args.output is None:
        raise ValueError("expected FORMAT SOURCE OUT; lfm data convert --list shows the formats")
    if args.every < 1:
        raise ValueError(f"--every is {args.every}, expected 1 or more")
    source, target = Path(args.source), Path(args.output)
    one_file = target.suffix.lower() == ".npz"
    loader = loaders.get(args.format)
    if one_file:
        _check_file(target, args.force)
    elif target.exists() and not target.is_dir():
        raise ValueError(f"{target}: OUT is a .npz file, or a folder, but there is another file")
    if not source.exists():
        raise FileNotFoundError(f"{source}: no such file or folder; {loader.name} expects {loader.expects}")
    found = loader.read(source, args.every)
    if one_file and len(found) != 1:
        there = ", ".join(sorted(found))
        raise ValueError(f"{source} holds {len(found)} categories ({there}): OUT has to be a folder, not a .npz file")
    if not one_file and (odd := [name for name in found if not name.strip(".") or Path(name).name != name]):
        raise ValueError(f"{source}: the category {odd[0]!r} gives no file name; OUT may be a .npz file instead")
    written = {target: next(iter(found.values()))} if one_file else {target / f"{n}.npz": v for n, v in found.items()}
    npz_files.write_all(written, args.force)
    for (path, content), name in zip(written.items(), found, strict=True):
        frames, n = content.points.shape[:2]
        kind = "2D only" if isinstance(content, formats.Keypoints) else "3D"
        say(f"{frames} frames of {n} keypoints ({name}, {kind}) -> {path}")
    return DONE


def _described(loader: "Loader", fully: bool) -> str:
    if not fully:
        return f"{loader.name:<14} {loader.title}"
    fields = ("title", "expects", "gives", "get", "licence")
    return "\n".join([loader.name, *(f"  {field:<8} {getattr(loader, field)}" for field in fields)])


def _check_file(target: Path, force: bool) -> None:
    if target.suffix.lower() != ".npz":
        raise ValueError(f"{target}: unknown suffix {target.suffix!r}, expected .npz")
    check_writable(target, force)


def _check_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="3D shapes (.npz), or 2D keypoints for lfm lift (.npz .csv .json)")


def _check(args: Namespace) -> int:
    from lfmlib.data import check

    report = check.examine(args.file)
    print(f"{args.file}: {report.content}")
    for word, lines in (("problem", report.problems), ("warning", report.warnings)):
        for line in lines:
            print(f"{word:<8} {''.join(c if c.isprintable() else ' ' for c in line)}")  # a file's bytes may be in it
    counts = {"problem": len(report.problems), "warning": len(report.warnings)}
    print(", ".join(f"{count} {word}{'' if count == 1 else 's'}" for word, count in counts.items()))
    return FAILED if report.problems else DONE


def _fetch_arguments(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("name", metavar="NAME", help="a measured set that lfm data list marks with yes or fetch")
    add("--to", metavar="DIR", help="folder to write to (LFM_DATA)")
    add("--accept-unpinned", action="store_true", help="take files whose checksum is not known in advance")
    add("--timeout", type=float, default=30.0, metavar="S", help="seconds that a server may stay silent (30)")
    add("--force", action="store_true", help="replace DIR/NAME.npz if it exists")


def _fetch(args: Namespace) -> int:
    from lfmlib.data import fetch, listing, real

    source = listing.source(args.name)
    if source.refused:
        raise ValueError(f"{args.name} cannot be fetched: {source.refused}")
    folder = Path(args.to) if args.to else real.folder()
    if folder is None:
        raise ValueError("no folder to write to: name one with --to, or set the environment variable LFM_DATA")
    if not 0 < args.timeout < float("inf"):
        raise ValueError(f"--timeout is {args.timeout}, expected seconds above 0")
    if (made := folder / f"{args.name}.npz").exists() and not args.force:
        raise ValueError(f"{made} exists; --force replaces it")
    say(f"{source.title}; licence: {source.licence}; {len(source.paths)} files of {source.repository}")

    def report(path: str, digest: str) -> None:
        print(f"{digest}  {path}", flush=True)

    clone = fetch.fetch(args.name, folder, args.accept_unpinned, args.timeout, report)
    say(f"{len(source.paths)} files are in {clone}, their checksums in {folder / fetch.RECORD}")
    if (made := fetch.build(args.name, folder)) is None:
        say(f"note: this version has no converter from these files to {args.name}.npz")
    else:
        say(f"{args.name} -> {made}")
    return DONE


CHECK_NOTE = "Exit code 1 if there is a problem; warnings alone are no fault."
FETCH_NOTE = """\
Nothing is downloaded that has no licence. A download that broke off goes on with the same command. Files are laid out
as a clone in DIR/upstream; DIR/fetched.json holds the checksum of each, and other bytes are refused from then on.
One process at a time writes to DIR."""
ACTIONS = {
    "list": Command("list every category", "here: yes (usable now), fetch (to be had by lfm data fetch) or no.",
                   _list_arguments, _list),
    "make": Command("write shapes of the embedded benchmark", "The same seed gives the same bytes.",
                   _make_arguments, _make),
    "convert": Command("convert another project's files", "All files are written, or none.",
                      _convert_arguments, _convert),
    "check": Command("check a data file", CHECK_NOTE, _check_arguments, _check),
    "fetch": Command("download what a measured set is built from", FETCH_NOTE, _fetch_arguments, _fetch),
}  # fmt: skip
