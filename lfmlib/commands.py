"""What the command line's parsers share: what a command is, how it is declared, and whether a file may be written."""

import argparse
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple


class Command(NamedTuple):
    """One sub-command: help, note below the help, declaration of its arguments, and what runs it (-> exit code)."""

    help: str
    note: str
    arguments: Callable[[ArgumentParser], None]
    run: Callable[[Namespace], int]


def declare(parser: ArgumentParser, commands: Mapping[str, Command], dest: str, **debug: Any) -> None:
    """Adds the commands to a parser, each with --debug (`debug`: further settings of that option)."""
    kinds = parser.add_subparsers(dest=dest, metavar=dest.upper(), required=True)
    for name, command in commands.items():
        sub = kinds.add_parser(
            name, help=command.help, description=f"{command.help[0].upper()}{command.help[1:]}.", epilog=command.note,
            formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
        )  # fmt: skip
        sub.add_argument("--debug", action="store_true", help="show the traceback of an error", **debug)
        command.arguments(sub)


def check_writable(target: Path, force: bool) -> None:
    """Refuses a folder, and a file that exists unless `force`.

    Raises:
        ValueError: names the file.
    """
    if target.is_dir():
        raise ValueError(f"{target} is a folder, expected a file to write")
    if target.exists() and not force:
        raise ValueError(f"{target} exists; --force replaces it")
