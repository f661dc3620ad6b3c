"""Evaluation: figures with intervals, comparison, calibration, ensembles, leaderboard, model cards."""

from emotions.evaluation.baseline import logistic_regression
from emotions.evaluation.comparison import compare, verdict
from emotions.evaluation.evaluate import evaluate
from emotions.evaluation.metrics import beats_majority_class, in_words, majority_class, measure, percent, shown, summary
