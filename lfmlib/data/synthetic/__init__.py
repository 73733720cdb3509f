"""The embedded benchmark: shapes from parametric families, so that everything runs and tests without a data folder.

A category is an entry of `lfmlib/benchmark/*.toml`: its rig, how many samples it has, the family function that makes
its shapes ("maker") and that function's arguments ("shape"). Lengths and angles are ours, set to plausible anatomy and
manufacture; no recording was used.
"""

from lfmlib.data.synthetic.catalogue import CAP, Entry, cap, categories, entry, generate

__all__ = ["CAP", "Entry", "cap", "categories", "entry", "generate"]
