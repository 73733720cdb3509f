"""notebooks/profiles.yml and the parameters that notebooks declare: read, merged, and checked against each other."""

import ast
import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

NUMBERS = {"cell_timeout": 3600, "at_once": 1}  # seconds that a cell may take; notebooks that run side by side

def read(path: Path) -> dict[str, dict[str, Any]]:
    """Reads profiles.yml: {profile: {"cell_timeout": seconds, "at_once": notebooks, "NN": {parameter: value}}}, the
    section `default` under each profile.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not of that form (names the entry).
    """
    try:
        sections = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not YAML ({error})") from error
    if not isinstance(sections, dict) or not all(isinstance(section, dict) for section in sections.values()):
        raise ValueError(f"{path}: expected {{profile: {{'NN': {{parameter: value}}}}}}")
    profiles = {}
    for profile, section in sections.items():
        merged: dict[str, Any] = dict(NUMBERS)
        for part in (sections.get("default", {}), section):
            for key, entry in part.items():
                if key in NUMBERS:
                    if type(entry) is not int or entry <= 0:
                        raise ValueError(f"{path}: {profile}: {key} is {entry!r}, expected a whole number > 0")
                    merged[key] = entry
                elif str(key).isdigit() and isinstance(entry, dict):
                    merged[f"{int(key):02d}"] = merged.get(f"{int(key):02d}", {}) | entry
                else:
                    raise ValueError(
                        f"{path}: {profile}: entry {key!r}: {entry!r}, expected {', '.join(NUMBERS)} or 'NN': {{}}"
                    )
        profiles[profile] = merged
    profiles.pop("default", None)
    return profiles


def declared(notebook: Any, name: str) -> dict[str, Any]:
    """The literals of the one cell tagged `parameters`.

    Raises:
        ValueError: there is not exactly one such cell, or it holds something other than `name = literal`.
    """
    cells = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(cells) != 1:
        raise ValueError(f"notebook {name}: {len(cells)} cells tagged `parameters`, expected one")
    values = {}
    for line in ast.parse(cells[0].source).body:
        try:
            (target,) = line.targets  # type: ignore[attr-defined]
            values[target.id] = ast.literal_eval(line.value)  # type: ignore[attr-defined]
        except (AttributeError, ValueError) as error:
            text = ast.unparse(line)
            raise ValueError(f"notebook {name}: `{text}` in the parameters cell is not `name = literal`") from error
    return values


def check(name: str, values: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Refuses a parameter that the notebook does not declare, or one of another type than it declares.

    Raises:
        ValueError: names the parameter, and the nearest declared one.
    """
    for parameter, value in values.items():
        if parameter not in known:
            near = difflib.get_close_matches(parameter, known, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else f"; declared: {', '.join(known)}"
            raise ValueError(f"notebook {name} declares no parameter {parameter!r}{hint}")
        if not _fits(value, known[parameter]):
            kinds = f"{type(value).__name__}, declared as {known[parameter]!r} ({type(known[parameter]).__name__})"
            raise ValueError(f"notebook {name}: parameter {parameter} = {value!r} is {kinds}")


def _fits(value: Any, model: Any) -> bool:
    if model is None or value is None:
        return model is None
    if isinstance(model, list | tuple):
        return isinstance(value, list | tuple) and (not model or all(_fits(item, model[0]) for item in value))
    if isinstance(model, float):
        return type(value) in (int, float)
    return type(value) is type(model)  # a bool is no int here
