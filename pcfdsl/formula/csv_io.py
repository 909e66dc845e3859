"""The released CSV form of a system: one row per map, D*D matrix entries row by row, D offsets, the probability.

7 columns in 2D (FractalDB: a b c d e f p), 13 in 3D (PC-FractalDB: a..i j k l p), no header, `%.18e`, which preserves
every float64.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pcfdsl.formula.ifs import IFS

__all__ = ["format_ifs", "read_ifs", "systems_checksum"]

_DIM_OF_COLUMNS = {7: 2, 13: 3}


def read_ifs(path: str | Path) -> IFS:
    """Read a system from a CSV file with 7 or 13 columns.

    Raises:
        ValueError: If the content is invalid; the message names file, row and column, both counted from 1.
        OSError: If the file cannot be read.
    """
    try:
        text = Path(path).read_text(encoding="ascii")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not a text file of numbers") from None
    rows: list[list[float]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        cells = line.split(",")
        if len(cells) not in _DIM_OF_COLUMNS:
            raise ValueError(f"{path}, row {number}: {len(cells)} columns; expected 7 (2D) or 13 (3D)")
        if rows and len(cells) != len(rows[0]):
            raise ValueError(f"{path}, row {number}: {len(cells)} columns, but the rows above have {len(rows[0])}")
        rows.append([_number(path, number, column, cell) for column, cell in enumerate(cells, start=1)])
    if not rows:
        raise ValueError(f"{path}: holds no map; expected one row per map with 7 or 13 numbers")
    values = np.array(rows)
    dim = _DIM_OF_COLUMNS[values.shape[1]]
    try:
        return IFS(values[:, : dim * dim].reshape(-1, dim, dim), values[:, dim * dim : -1], values[:, -1])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def format_ifs(ifs: IFS) -> str:
    """The text of the released form."""
    rows = np.hstack([ifs.matrices.reshape(ifs.num_maps, -1), ifs.offsets, ifs.probabilities[:, None]])
    return "".join(",".join(f"{value:.18e}" for value in row) + "\n" for row in rows)


def systems_checksum(systems: Sequence[IFS]) -> str:
    """SHA-256 (hex) of systems in their released form."""
    return hashlib.sha256("\n".join(map(format_ifs, systems)).encode()).hexdigest()


def _number(path, row: int, column: int, cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        raise ValueError(f"{path}, row {row}, column {column}: {cell.strip()!r} is not a number") from None
    if not np.isfinite(value):
        raise ValueError(f"{path}, row {row}, column {column}: {cell.strip()} is not finite")
    return value
