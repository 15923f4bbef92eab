"""Curves for programs."""

import sys

import pytest

from footplate.client import ClientError, History


def test_pandas_is_asked_for_only_where_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "pandas" not in sys.modules
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ClientError, match="pandas isn't installed; run: pip install pandas"):
        History([1], {"loss": [1.0]}).to_pandas()
