"""Figures, drawn from saved results: `plots.panel(run, faces)`, `plots.confusion_matrix(run.metrics["test"])`."""

from emotions.colors import colors
from emotions.plots.diagrams import two_phases
from emotions.plots.evaluation import confusion_matrix, intervals, recalls, reliability, roc_curves
from emotions.plots.explanations import attention_distances, attention_heads, heat_maps, mosaics
from emotions.plots.faces import composite, composites, confusion_faces, image_grid, mistakes
from emotions.plots.report import panel, training_curves
