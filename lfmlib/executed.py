"""Makes an executed notebook fit to be committed: the same run gives the same bytes, and no machine shows through."""

import json
import re
import sys
from pathlib import Path
from typing import Any

_CELL_FILE = re.compile(r"[^\s\"'<>]{0,300}ipykernel_\d+[/\\]+\d+\.py")
_ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]+")
_NOISE = ("papermill", "execution", "widgets", "language_info", "kernelspec")


def clean(text: str, root: Path, scratch: Path, failed: bool) -> str:
    """The notebook's JSON without run times, ids drawn at random, absolute paths and memory addresses.

    What a cell said on stderr (progress, log lines) is kept only where the run failed and it may say why.

    Args:
        text: the notebook as papermill stored it.
        root: repository root, to become ".".
        scratch: the run's temporary folder.
        failed: a cell of it failed.
    """
    notebook = json.loads(text)
    cells = [cell for cell in notebook["cells"] if "papermill-error-cell-tag" not in cell["metadata"].get("tags", [])]
    for cell in cells:
        _drop(cell["metadata"])
        if "injected-parameters" in cell["metadata"].get("tags", []):
            cell["id"] = "injected-parameters"
        if "outputs" in cell:
            cell["outputs"] = [out for out in cell["outputs"] if failed or out.get("name") != "stderr"]
            for output in cell["outputs"]:
                _drop(output.get("metadata", {}))
    _drop(notebook["metadata"])
    notebook["metadata"]["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    places = {
        str(root.resolve()): ".",
        str(root): ".",
        str(scratch): "<tmp>",
        sys.prefix: "<python>",
        str(Path.home()): "~",
    }
    places = dict(sorted(places.items(), key=lambda item: -len(item[0])))  # the longest first: one may lie in another
    notebook["cells"] = _without(cells, {place: sign for place, sign in places.items() if len(place) > 1})
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def _drop(metadata: dict[str, Any]) -> None:
    for name in _NOISE:
        metadata.pop(name, None)


def _without(value: Any, places: dict[str, str]) -> Any:
    if isinstance(value, dict):
        # pictures hold no path, and one long line of base64 is slow to search
        return {key: item if key.startswith("image/png") else _without(item, places) for key, item in value.items()}
    if isinstance(value, list):
        return [_without(item, places) for item in value]
    if not isinstance(value, str):
        return value
    value = _ADDRESS.sub("at 0x...", _CELL_FILE.sub("cell.py", value))
    for place, sign in places.items():
        value = re.sub(rf"(?<![\w./-]){re.escape(place)}(?![\w-])", lambda _, sign=sign: sign, value)
    return value
