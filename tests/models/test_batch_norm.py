"""Batch norm over several processes is that of one process with all their samples."""

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
from torch import nn

from pcfdsl.models.batch_norm import RowNormReLU, SynchronizedBatchNorm, synchronize_batch_norm
from pcfdsl.models.layers import SharedMLP
from pcfdsl.ops.neighborhoods import NeighborRows

# Two neighbourhoods for the first process, three for the second; the first row of each stands for copies too.
STARTS = torch.tensor([0, 3, 7, 8, 12, 15])
COPIES = torch.tensor([2.0, 1, 1, 1, 1, 1, 1, 4, 1, 1, 1, 1, 3, 1, 1])
SPLIT = 2


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.rows = SharedMLP((3, 5, 4))
        self.conv = nn.Conv2d(2, 3, 3)
        self.bn = nn.BatchNorm2d(3)

    def forward(self, rows, neighborhoods, images):
        return self.rows(rows, neighborhoods), torch.relu(self.bn(self.conv(images)))


def network() -> Network:
    torch.manual_seed(0)
    return Network().double()


def inputs(first: int, last: int) -> tuple:
    """Neighbourhoods first to last, and as many images."""
    generator = torch.Generator().manual_seed(1)
    rows = torch.randn(15, 3, dtype=torch.float64, generator=generator)
    images = torch.randn(5, 2, 6, 6, dtype=torch.float64, generator=generator)
    begin, end = STARTS[first], STARTS[last]
    starts = STARTS[first : last + 1] - begin
    neighborhoods = NeighborRows(
        point_idx=torch.arange(end - begin),
        center_idx=torch.repeat_interleave(starts.diff()),
        starts=starts,
        multiplicity=COPIES[begin:end],
    )
    return rows[begin:end], neighborhoods, images[first:last]


def step(model: Network, first: int, last: int) -> dict:
    """What comes out and the gradient of a loss that is not the same for all outputs."""
    outputs = model(*inputs(first, last))
    weights = torch.arange(first, last, dtype=torch.float64) + 1
    sum((out.square().flatten(1).sum(1) * weights).sum() for out in outputs).backward()
    return {
        "outputs": [out.detach() for out in outputs],
        "gradients": {name: value.grad for name, value in model.named_parameters()},
        "buffers": {name: value.clone() for name, value in model.named_buffers()},
    }


def take_part(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    model = network()
    synchronize_batch_norm(model)
    result = step(model, *((0, SPLIT) if rank == 0 else (SPLIT, 5)))
    for value in result["gradients"].values():
        dist.all_reduce(value)
    torch.save(result, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_of_unequal_shares_are_one_with_all_samples(tmp_path):
    whole = step(network(), 0, 5)
    multiprocessing.spawn(take_part, (str(tmp_path),), nprocs=2)
    parts = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for first, second, expected in zip(parts[0]["outputs"], parts[1]["outputs"], whole["outputs"], strict=True):
        torch.testing.assert_close(torch.cat([first, second]), expected)
    for part in parts:
        torch.testing.assert_close(part["gradients"], whole["gradients"])
        torch.testing.assert_close(part["buffers"], whole["buffers"])


def test_alone_it_changes_nothing_but_the_route():
    plain, synchronized = network(), network()
    synchronize_batch_norm(synchronized)
    assert isinstance(synchronized.bn, SynchronizedBatchNorm)
    assert synchronized.state_dict().keys() == plain.state_dict().keys()
    torch.testing.assert_close(step(synchronized, 0, 5), step(plain, 0, 5))
    plain.eval(), synchronized.eval()
    torch.testing.assert_close(synchronized(*inputs(0, 5)), plain(*inputs(0, 5)))


def test_the_activation_and_dropout_of_timms_norms_stay():
    timm = pytest.importorskip("timm", reason="timm is not installed: pip install '.[image]'")
    torch.manual_seed(0)
    plain = timm.create_model("test_resnet", num_classes=3)
    synchronized = timm.create_model("test_resnet", num_classes=3)
    synchronized.load_state_dict(plain.state_dict())
    synchronize_batch_norm(synchronized)
    assert synchronized.state_dict().keys() == plain.state_dict().keys()
    images = torch.randn(4, 3, 32, 32)
    for mode in (True, False):
        torch.testing.assert_close(synchronized.train(mode)(images), plain.train(mode)(images), rtol=1e-4, atol=1e-5)


def test_norms_that_cannot_be_synchronised_are_refused():
    with pytest.raises(ValueError, match="no scale and shift"):
        synchronize_batch_norm(nn.Sequential(nn.BatchNorm1d(3, affine=False)))
    with pytest.raises(ValueError, match="momentum"):
        synchronize_batch_norm(nn.Sequential(nn.BatchNorm2d(3, momentum=None)))


def test_frozen_norms_use_what_they_stored():
    norm = RowNormReLU(3)
    norm.synchronized = True
    norm.eval()
    rows = torch.randn(4, 3)
    torch.testing.assert_close(norm(rows), torch.relu(rows / (1 + norm.eps) ** 0.5))
    assert norm.num_batches_tracked == 0


def test_a_single_row_has_no_statistics_to_train_on():
    norm, row = RowNormReLU(3), torch.randn(1, 3)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        norm(row)
    assert torch.equal(norm.running_var, torch.ones(3))
    assert norm.eval()(row).shape == (1, 3)
