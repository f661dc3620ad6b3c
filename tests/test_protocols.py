"""Accuracies under both protocols, and the interval of their difference."""

import pandas as pd
import pytest

from emotions.evaluation import comparison, protocols


def test_the_interval_of_a_difference_is_the_published_one(monkeypatch):
    """56 of 70 against 48 of 80: Newcombe 1998, Interval estimation for the difference, Table II, method 10."""
    shares = {"As distributed": (56, 70), "Leak-free": (48, 80)}
    tables = {
        protocol: pd.DataFrame([[k / n, *comparison.wilson(k, n)]], index=["net"], columns=["accuracy", "low", "high"])
        for protocol, (k, n) in shares.items()
    }
    monkeypatch.setattr(protocols, "accuracies", lambda home: tables)
    points, low, high = protocols.differences(None).loc["net"]
    assert points == pytest.approx(-20)
    assert (low, high) == pytest.approx((-33.39, -5.24), abs=0.01)
