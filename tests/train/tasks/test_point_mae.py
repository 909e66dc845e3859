"""Point-MAE: what is hidden, what it costs, what is learned, runs that are killed, and where the weights go."""

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pcfdsl.checkpoints.start import InitConfig, start_from
from pcfdsl.config import ConfigError, load
from pcfdsl.datasets.clouds import open_clouds
from pcfdsl.datasets.folds import split_clouds
from pcfdsl.models.classifier import ClassifierConfig, PointCloudClassifier
from pcfdsl.models.point_mae import PointMAE, chamfer_distance
from pcfdsl.samples.clouds import CloudDataset
from pcfdsl.train.loop import train
from pcfdsl.train.tasks.classification import ClassificationConfig, train_classifier
from pcfdsl.train.tasks.point_mae import PointMAEConfig, point_mae_task, reconstruction_error, train_point_mae


def smoke(*settings):
    return load(PointMAEConfig, "point_mae/smoke", ["train.device=cpu", "train.sinks=[]", *settings])


@pytest.fixture(scope="module")
def clouds():
    return open_clouds(smoke().data)


@pytest.fixture
def make_task(clouds):
    return lambda config: point_mae_task(config, clouds, split_clouds(clouds, config.split))


@pytest.fixture
def batch(make_task):
    task = make_task(smoke())
    return task.collate([task.dataset[0, i] for i in range(0, 36, 6)])


def orders(count=6):
    rng = np.random.default_rng(0)
    return torch.from_numpy(np.stack([rng.permutation(16) for _ in range(count)]))


def test_hidden_groups_are_made_up_and_their_truth_lies_around_their_centres(make_task, batch):
    model = make_task(smoke()).model
    made_up, truth = model(batch.points, orders())
    assert made_up.shape == truth.shape == (6, 9, 8, 3)  # 0.6 of 16 groups, rounded down
    offsets, _ = model.backbone_net.tokenizer.groups(batch.points)
    for b, order in enumerate(orders()):
        assert torch.equal(truth[b], offsets[b][order[-9:]])
    assert model.encode(*model.backbone_net.tokenizer.groups(batch.points), orders()[:, :7]).shape == (6, 8, 24)


def test_chamfer_distance_is_that_of_plain_loops():
    torch.manual_seed(0)
    a, b = torch.randn(2, 3, 5, 3), torch.randn(2, 3, 4, 3)
    found = chamfer_distance(a, b)
    assert found.shape == (2, 3)
    for i in np.ndindex(2, 3):
        there = sum(min(float(((p - q) ** 2).sum()) for q in b[i]) for p in a[i]) / 5
        back = sum(min(float(((p - q) ** 2).sum()) for p in a[i]) for q in b[i]) / 4
        assert found[i] == pytest.approx(there + back, rel=1e-5)
    assert torch.equal(found, chamfer_distance(b, a).view(2, 3))


def test_a_perfect_answer_costs_nothing(make_task, batch):
    task = make_task(smoke())

    def perfect(points, order):
        _, truth = task.model(points, order)
        return truth.flip(2), truth  # whatever the order of the points

    loss, _ = task.loss(perfect, batch, np.random.default_rng(0))
    assert loss == 0
    assert task.loss(task.model, batch, np.random.default_rng(0))[0] > 0


def test_what_is_hidden_does_not_reach_the_transformer(make_task, batch):
    model = make_task(smoke()).model.train()  # batch norms must not tell of it either
    offsets, centers = model.backbone_net.tokenizer.groups(batch.points)
    seen, hidden = orders()[:, :7], orders()[:, 7:]
    before = model.encode(offsets, centers, seen)
    rows = torch.arange(6)[:, None]
    others, places = offsets.clone(), centers.clone()
    others[rows, hidden] = torch.randn(6, 9, 8, 3)
    places[rows, hidden] = torch.randn(6, 9, 3)
    assert torch.equal(model.encode(others, places, seen), before)
    others[0, seen[0, 3], 5] += 1
    assert (model.encode(others, places, seen)[0] - before[0]).abs().max() > 1e-3


def test_the_decoder_knows_of_hidden_groups_only_where_they_are(make_task, batch):
    model, given = make_task(smoke()).model, {}
    model.backbone_net.tokenizer.groups = lambda points: (given["offsets"], given["centers"])
    offsets, centers = PointMAE(model.config).backbone_net.tokenizer.groups(batch.points)
    given |= {"offsets": offsets.clone().requires_grad_(), "centers": centers.clone().requires_grad_()}
    order = orders()
    model(batch.points, order)[0].square().sum().backward()
    rows = torch.arange(6)[:, None]
    assert not given["offsets"].grad[rows, order[:, 7:]].any()
    assert given["offsets"].grad[rows, order[:, :7]].abs().sum() > 0
    assert (given["centers"].grad[rows, order].abs().sum(2) > 0).all()


def test_every_weight_learns(make_task, batch):
    task = make_task(smoke())
    task.loss(task.model, batch, np.random.default_rng(0))[0].backward()
    assert [name for name, weight in task.model.named_parameters() if weight.grad is None] == []


def test_a_batch_is_learned_by_heart(make_task, batch):
    task = make_task(smoke())
    optimizer, losses = torch.optim.AdamW(task.model.parameters(), 5e-3), []
    for _ in range(200):
        loss, _ = task.loss(task.model, batch, np.random.default_rng(0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    _, truth = task.model(batch.points, orders())
    of_centers = chamfer_distance(torch.zeros_like(truth), truth).mean()  # what saying nothing costs
    assert losses[-1] < losses[0] / 10
    assert losses[-1] < 0.5 * of_centers


def test_a_stopped_run_goes_on_bit_for_bit(tmp_path, make_task, train_until_it_fails):
    settings = smoke("train.num_steps=5", "train.checkpoint_every=2")
    train(make_task(settings), settings.train, tmp_path / "whole")
    task = make_task(settings)
    train_until_it_fails(task, settings.train, tmp_path / "stopped", after=3, error=RuntimeError("power cut"))
    result = train(make_task(settings), settings.train, tmp_path / "stopped")
    assert result.step == 5
    assert 0 < result.metrics["loss"] < 1
    whole, stopped = (load_file(tmp_path / name / "last.safetensors") for name in ("whole", "stopped"))
    assert whole.keys() == stopped.keys()
    assert all(torch.equal(whole[name], stopped[name]) for name in whole)


def test_validation_hides_the_same_groups_each_time_and_whatever_the_batches(make_task, clouds):
    task = make_task(smoke())
    tested = CloudDataset(clouds, split_clouds(clouds, smoke().split).test, points=smoke().points)
    model = task.model.eval()
    assert len(tested) == 12
    whole = reconstruction_error(model, tested, num_groups=16)
    assert whole == reconstruction_error(model, tested, num_groups=16)
    assert whole == pytest.approx(reconstruction_error(model, tested, num_groups=16, batch_size=5), rel=1e-5)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_weights_go_to_a_classifier_of_clouds(tmp_path, make_task, batch, capsys, precision):
    settings = smoke("train.num_steps=2", f"train.precision={precision}")
    task = make_task(settings)
    train(task, settings.train, tmp_path)
    own = ClassifierConfig(
        backbone_type="point_transformer", transformer=settings.model.transformer, num_classes=7, num_hidden=32
    )
    classifier = PointCloudClassifier(own).eval()
    start_from(InitConfig(checkpoint=str(tmp_path)), classifier)
    said = capsys.readouterr().err.split("from ")[-1]
    assert f"{len(classifier.backbone_net.state_dict())} tensors loaded" in said
    assert not [note for note in ("not in the source", "shape differs", "unused") if note in said]
    with torch.no_grad():
        expected = task.model.eval().backbone_net(batch.points)
        assert torch.equal(classifier.backbone_net(batch.points), expected)


def test_it_goes_from_formulas_to_modelnets_files(tmp_path, make_task):
    settings = smoke("train.num_steps=2")
    train(make_task(settings), settings.train, tmp_path / "mae")
    (tmp_path / "modelnet").mkdir()
    (tmp_path / "modelnet" / "shape_names.txt").write_text("bed\ndesk\n")
    for part, count in (("train0", 8), ("test0", 4)):
        with h5py.File(tmp_path / "modelnet" / f"ply_data_{part}.h5", "w") as file:
            file["data"] = np.random.default_rng(0).normal(size=(count, 64, 3)).astype(np.float32)
            file["label"] = np.arange(count)[:, None] % 2
    quick = ("points.num_points=64", "train.num_steps=2", "train.batch_size=4", "train.device=cpu", "train.sinks=[]")
    given = (f"data.path={tmp_path / 'modelnet'}", f"init.checkpoint={tmp_path / 'mae'}", "train.precision=float32")
    small = ("embed_dim=24", "depth=2", "num_heads=2", "tokens.num_groups=16", "tokens.group_size=8")
    network = (f"model.transformer.{name}" for name in small)
    config = load(ClassificationConfig, "classifier/paper_transformer", [*quick, *given, *network])
    assert train_classifier(config, tmp_path / "run").runs[0].metrics["accuracy"] in (0, 0.25, 0.5, 0.75, 1)
    raw = load(PointMAEConfig, "point_mae/smoke", [*quick, f"data={{kind: hdf5, path: {tmp_path / 'modelnet'}}}"])
    assert 0 < train_point_mae(raw, tmp_path / "raw").runs[0].metrics["loss"] < 10


def test_the_recipes_fit_together():
    paper = load(PointMAEConfig, "point_mae/paper")
    downstream = load(ClassificationConfig, "classifier/paper_transformer", ["data.path=modelnet"])
    assert downstream.model.transformer == paper.model.transformer
    assert downstream.points.num_points == paper.points.num_points
    assert paper.model == PointMAEConfig().model
    assert (paper.model.num_hidden, paper.points.num_points, paper.train.batch_size) == (38, 1024, 128)
    laptop = load(PointMAEConfig, "point_mae/laptop")
    downstream = load(ClassificationConfig, "classifier/laptop_transformer", ["data.path=shapes.npz"])
    assert downstream.model.transformer == laptop.model.transformer
    assert downstream.points.num_points == laptop.points.num_points


def test_what_does_not_fit_is_said_in_a_sentence():
    with pytest.raises(ConfigError, match="points: use_height is true"):
        smoke("points.use_height=true")
    with pytest.raises(ConfigError, match=r"points: num_points is 7, fewer than .*group_size 8"):
        smoke("points.num_points=7")
    with pytest.raises(ConfigError, match=r"points: num_points is 15, fewer than .*num_groups 16"):
        smoke("points.num_points=15")
    for mask, hidden in ((0.05, 0), (1.0, 16)):
        with pytest.raises(ConfigError, match=f"mask: {mask} hides {hidden} of 16 groups; some have to be"):
            smoke(f"model.mask={mask}")
    model = PointMAE(smoke().model)
    with pytest.raises(ValueError, match="clouds have 5 points, fewer than group_size 8"):
        model(torch.rand(2, 5, 3), orders(2))
