"""Runs the notebooks of a profile through papermill, strictly: what is misspelt is refused before anything runs.

    python -m lfmlib.runner --profile cpu 02 05

Every notebook runs at the repository root in this interpreter's kernel, with a time limit per cell; the executed copy
is stored at results/<profile>/<name>/executed.ipynb even when a cell fails; one line per notebook says how it went.
"""

import argparse
import difflib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from lfmlib import executed, files, profiles, provenance
from lfmlib.environment import environment
from lfmlib.processes import WORKER_ENVIRONMENT, usable_cores
from lfmlib.report import check_writable

KERNEL = "lfmlib-runner"
REPORT = "99"  # the notebook that reads the others' results
TIMES = "11"  # the notebook that measures times, undisturbed but in smoke, whose numbers mean nothing


@dataclass(frozen=True)
class Job:
    """One notebook, checked and ready: its number, name, content, parameters, seconds per cell; and how many may run
    side by side."""

    number: str
    name: str
    notebook: Any
    parameters: dict[str, Any]
    cell_timeout: int
    at_once: int = 1


@dataclass(frozen=True)
class Outcome:
    """How a notebook went; `error` is empty where it went well."""

    name: str
    seconds: float
    error: str

    def __str__(self) -> str:
        return f"{self.name:<32} {'failed' if self.error else 'ok':<7} {self.seconds:7.1f} s  {self.error}".rstrip()


def plan(profile: str, numbers: Sequence[str] = (), root: Path | None = None) -> list[Job]:
    """The notebooks to run, everything about them checked.

    Args:
        profile: one of profiles.yml.
        numbers: of the notebooks ("05" or "5"); none: all.
        root: repository root; None: found by itself.
    Raises:
        ValueError: unknown profile or number, damaged notebook, parameter not declared or of another type.
        OSError: a results folder cannot be written.
    """
    import nbformat

    root = root or provenance.repository_root()
    source = root / "notebooks" / "profiles.yml"
    sections = profiles.read(source)
    paths = {path.name[:2]: path for path in sorted((root / "notebooks").glob("[0-9][0-9]_*.ipynb"))}
    if profile not in sections:
        near = difflib.get_close_matches(profile, sections, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"unknown profile {profile!r}, expected one of {', '.join(sections)}{hint}")
    if not paths:
        raise ValueError(f"{root / 'notebooks'}: there are no notebooks NN_name.ipynb")
    wanted = [number.zfill(2) for number in numbers] or list(paths)
    section = sections[profile]
    for origin, asked in (("", wanted), (f"{source}: ", [key for key in section if key not in profiles.NUMBERS])):
        unknown = [number for number in asked if number not in paths]
        if unknown:
            raise ValueError(f"{origin}no notebook {', '.join(unknown)}; there are: {', '.join(paths)}")
    jobs = []
    for number in dict.fromkeys(wanted):
        path = paths[number]
        try:
            notebook = nbformat.read(path, as_version=4)
        except Exception as error:  # nbformat raises many kinds for one thing: this is no notebook
            raise ValueError(f"{path}: not a notebook ({error})") from error
        values = {"profile": profile} | section.get(number, {})
        profiles.check(path.stem, values, profiles.declared(notebook, path.stem))
        check_writable(provenance.results_root(root) / profile / path.stem)
        jobs.append(Job(number, path.stem, notebook, values, section["cell_timeout"], section["at_once"]))
    return jobs


def run(job: Job, root: Path | None = None) -> Outcome:
    """Runs one notebook; a failed cell, a time-out or a dead kernel is an outcome, not an exception."""
    import papermill

    root = root or provenance.repository_root()
    profile = job.parameters["profile"]
    start, error = time.perf_counter(), ""
    # side by side, runs stay in their notebook's process
    shared = {} if job.at_once == 1 else {"LFM_WORKERS": "0"} | WORKER_ENVIRONMENT
    with tempfile.TemporaryDirectory(prefix="lfmlib-") as scratch, _kernel(Path(scratch), root), environment(shared):
        raw = Path(scratch) / "executed.ipynb"
        try:
            papermill.execute_notebook(
                job.notebook,
                raw,
                parameters=job.parameters,
                kernel_name=KERNEL,
                language="python",
                cwd=root,
                execution_timeout=job.cell_timeout,
                progress_bar=False,
                stdout_file=sys.stderr,  # what a long cell says while it works; stdout is for the outcomes
                stderr_file=sys.stderr,
            )
        except Exception as failure:
            error = _first_line(failure)
        if raw.exists():
            text = executed.clean(raw.read_text(encoding="utf-8"), root, Path(scratch), failed=bool(error))
            try:
                files.write_text(provenance.results_root(root) / profile / job.name / "executed.ipynb", text)
            except OSError as failure:
                error = error or _first_line(failure)
    return Outcome(job.name, time.perf_counter() - start, error)


def run_all(jobs: Sequence[Job]) -> Iterator[Outcome]:
    """Runs notebooks, as many side by side as the profile allows and there are cores.

    Side by side the last one starts first: it trains most. What two notebooks share is trained by one of them.
    """
    processes = min(jobs[0].at_once, usable_cores())
    late = (REPORT,) if jobs[0].parameters["profile"] == "smoke" else (TIMES, REPORT)
    early = [job for job in jobs if job.number not in late]
    if processes == 1 or len(early) < 2:
        yield from map(_announced, jobs)
        return
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        for done in as_completed([pool.submit(_announced, job) for job in early[-1:] + early[:-1]]):
            yield done.result()
    yield from (_announced(replace(job, at_once=1)) for job in jobs if job.number in late)


def _announced(job: Job) -> Outcome:
    told = f"running {job.name} ({job.parameters['profile']}) {json.dumps(job.parameters)}"
    print(told, file=sys.stderr, flush=True)
    return run(job)


@contextmanager
def _kernel(scratch: Path, root: Path) -> Iterator[None]:
    """A kernel of this interpreter, known to Jupyter for this run only; the user's home is not touched."""
    spec = scratch / "kernels" / KERNEL / "kernel.json"
    quiet = "--IPKernelApp.log_level=40"  # else each start warns that its local sockets are signed but not encrypted
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", quiet]
    files.write_json(spec, {"argv": command, "display_name": "Python 3", "language": "python"})
    package = str(Path(__file__).resolve().parent.parent)
    settings = {
        "JUPYTER_PATH": str(scratch),
        "JUPYTER_RUNTIME_DIR": str(scratch / "runtime"),
        "JUPYTER_CONFIG_DIR": str(scratch / "config"),
        "JUPYTER_PLATFORM_DIRS": "1",
        "IPYTHONDIR": str(scratch / "ipython"),
        "PYTHONPATH": os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH")))),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # the debugger that a kernel brings warns on every start otherwise
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),  # the runs have processes; here threads only wait
        "LFM_ROOT": str(root),
        "LFM_RESULTS": str(provenance.results_root(root)),
    }
    with environment(settings):
        yield


def _first_line(failure: Exception) -> str:
    kind, text = getattr(failure, "ename", type(failure).__name__), getattr(failure, "evalue", str(failure))
    return f"{kind}: {text}".strip().splitlines()[0][:200]


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: 0 all went well, 1 a notebook failed, 2 the call itself was wrong and nothing was run."""
    parser = argparse.ArgumentParser(
        prog="run_all.sh", description="Regenerates the results, notebook by notebook."
    )
    parser.add_argument(
        "--profile", default="cpu", help="smoke (seconds), cpu (minutes, default) or full (wants a GPU)"
    )
    parser.add_argument("numbers", nargs="*", metavar="NN", help="numbers of notebooks; none: all")
    options = parser.parse_args(arguments)
    try:
        jobs = plan(options.profile, options.numbers)
    except (ValueError, OSError) as error:
        parser.print_usage(sys.stderr)
        print(f"run_all.sh: {error}", file=sys.stderr)
        return 2
    outcomes = []
    for outcome in run_all(jobs):
        outcomes.append(outcome)
        print(outcome, flush=True)
    failed = sum(bool(outcome.error) for outcome in outcomes)
    if failed:
        print(f"{failed} of {len(outcomes)} notebooks failed", file=sys.stderr)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
