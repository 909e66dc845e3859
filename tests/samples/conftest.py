"""The scenes of the data set tests."""

from tests.datasets.conftest import clean_rooms, rooms  # noqa: F401
