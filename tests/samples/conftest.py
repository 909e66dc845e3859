"""The rooms of tests/datasets."""

from tests.datasets.conftest import clean_rooms, rooms  # noqa: F401
