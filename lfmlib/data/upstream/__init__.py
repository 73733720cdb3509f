"""Builders of this project's measured sets from clones of the repositories that they come from.

Each module holds `LOADERS`: set name -> `Loader` whose path is the clone's folder. See `lfmlib.data.loaders`.
"""

# set -> module of this package
SETS = {
    "human17_cmu": "cmu",
    "human22_cmu": "cmu",
    "dog26_ai4animation": "ai4animation",
    "mouse22_dannce": "dannce",
    "fly17_groom": "drosophila",
    "fly30_walk": "drosophila",
    "hand13_markers_dfki": "dfki_hand",
    "face68_ict": "ict_face",
    "bird18_aves": "aves",
    "chair21_keypointnet": "keypointnet_chairs",
    "chair10_keypointnet": "keypointnet_chairs",
}
