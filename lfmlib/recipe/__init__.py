"""The recipe: lifting from 2D alone that works. Not in the paper.

Wake: a category's shape model by maximum likelihood from its pictures (`learn`), with nothing assumed but that cameras
turn about the vertical and that shapes have a density. Sleep: a Lifter that learns to lift pictures of what the shape
model dreams (`sleep`). After Torresani et al. (2008, probabilistic non-rigid structure from motion) and Hinton et al.
(1995, the wake-sleep algorithm).

    config.py cameras.py     sizes of the stages; the grid of cameras and how often each elevation is used
    rigid.py                 the start: one rigid shape and its cameras
    shape_model.py           mixture of Gaussians, seen by turning cameras
    evidence.py em.py        E-step, M-step, from one Gaussian to many
    learn.py                 the schedule, what pictures do not determine, the choice among candidates
    dreams.py                draws from the posterior of each picture; lifting by the shape model itself
    wake.py sleep.py         both phases as part of a run; `preset.py`: the run itself
    evaluation.py            what shape models get right by themselves
"""
