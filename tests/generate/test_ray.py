import hashlib
import os
from pathlib import Path

import pytest

from pcfdsl.generate.driver import RunOptions, generate
from pcfdsl.generate.ray import on_ray
from pcfdsl.generate.verify import verify
from pcfdsl.generate.workers import WorkerError

pytestmark = pytest.mark.filterwarnings("default")  # Ray's own warnings are not ours to mend
ray = pytest.importorskip("ray", reason="needs Ray: pip install 'pcfdsl[ray]'")

TESTS = Path(__file__).parent

QUIET = RunOptions(progress=False)
ON_RAY = RunOptions(progress=False, executor=on_ray)


@pytest.fixture
def cluster():
    """A cluster of three nodes with a processor each: processes of this machine that know nothing of each other."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    path = os.pathsep.join([str(TESTS), str(TESTS.parents[1])])
    ray.init(address=cluster.address, log_to_driver=False, runtime_env={"env_vars": {"PYTHONPATH": path}})
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def shards(out) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in out.rglob("*.safetensors")}


def make(recipe, out, **settings):
    return generate(recipe, out, **{"samples_per_shard": 4, "options": QUIET, **settings})


def test_lost_nodes_killed_workers_and_a_full_disk_change_no_byte(cluster, tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(TESTS))
    from stand_in_recipe import Noise, Unlucky

    make(Noise(), tmp_path / "local")
    killed, full = cluster.list_all_nodes()[1:]
    unlucky = Unlucky(delay=0.05, kill_at=9, full_node=full.node_id, log=str(tmp_path))

    def lose_a_node(num_done, counters):
        if num_done == 20 and killed in cluster.list_all_nodes():
            cluster.remove_node(killed, allow_graceful=False)
        return ""

    summary = make(unlucky, tmp_path / "ray", options=ON_RAY, note=lose_a_node)
    assert summary.complete
    assert capsys.readouterr().out == ""  # what Ray says of lost workers is no part of a tool's result
    assert (tmp_path / "killed").exists()
    assert (tmp_path / "met the full disk").exists()
    assert killed not in cluster.list_all_nodes()
    assert shards(tmp_path / "ray") == shards(tmp_path / "local")
    assert make(Noise(), tmp_path / "ray").num_made == 0  # and either engine goes on where the other stopped
    assert verify(Noise(), tmp_path / "ray", samples_per_shard=4, options=ON_RAY).mismatches == []

    with pytest.raises(ValueError, match=r"sample 7 cannot be made: no luck"):
        make(Noise(wrong_at=7, how="value"), tmp_path / "wrong", options=ON_RAY)
    with pytest.raises(WorkerError, match="oops"):
        make(Noise(wrong_at=7, how="bug"), tmp_path / "wrong", options=ON_RAY)
