"""The networks of the model tests."""

from tests.models.conftest import mean_sizes, state_dicts, sunrgbd_config, sunrgbd_network, tiny_config  # noqa: F401
