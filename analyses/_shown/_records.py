"""Rows of a table as figures and tables read them."""

from typing import Any

import pandas as pd


def records(table: pd.DataFrame) -> list[Any]:
    """The rows, each with a field for every column; what they hold is not typed."""
    return list(table.itertuples(index=False))
