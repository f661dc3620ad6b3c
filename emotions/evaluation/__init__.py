"""Evaluation: figures with intervals, comparison, calibration, ensembles, leaderboard, cards."""

from emotions.evaluation.baseline import logistic_regression
from emotions.evaluation.evaluate import evaluate
from emotions.evaluation.metrics import measure, summary

__all__ = ["evaluate", "logistic_regression", "measure", "summary"]
