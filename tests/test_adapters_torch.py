"""`AugmentedDataset`, `collate` and `weighted_sampler` with PyTorch's own loader."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from augury import (
    AugmentedDataset,
    CopyOrdering,
    Ordering,
    Rotate,
    Scores,
    as_transform,
    by_points,
    choose_copies,
    collate,
    rank,
    score,
    weighted_sampler,
)
from augury.errors import InputError
from augury.head import SoftmaxHead
from augury.learned import BoundedTransformation
from conftest import Array, digits_features

N = 40


def pixels() -> Array:
    return digits_features()[0][:N].reshape(N, 1, 8, 8).astype(np.float32)


def labels() -> Array:
    return digits_features()[1][:N]


def samples() -> TensorDataset:
    return TensorDataset(torch.from_numpy(pixels()), torch.from_numpy(labels()))


def scores() -> Scores:
    return score(pixels().reshape(N, -1), labels(), "loss")


def ordering(budget: int = 6) -> Ordering:
    return rank(scores(), seed=1).within(budget)


class Noise(nn.Module):
    """A learned augmentation's call: a draw for each image from the generator that it is given, and a parameter that learns."""

    def __init__(self) -> None:
        super().__init__()
        self.strength = nn.Parameter(torch.full((), 0.3))

    def forward(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        drawn = torch.rand(images.shape, generator=generator)
        return (images + self.strength * (drawn - 0.5)).clamp(0, 1)


def test_the_originals_come_first_and_then_the_chosen_points_copies() -> None:
    rotate, chosen = Rotate([-10, 10, 20]), ordering()
    dataset = AugmentedDataset(samples(), chosen, rotate)
    assert len(dataset) == N + 18
    copies = torch.from_numpy(rotate.copies(pixels()[chosen.selected]).reshape(18, 1, 8, 8))
    for i, (image, label) in enumerate(dataset):
        assert torch.equal(image, torch.from_numpy(pixels())[i] if i < N else copies[i - N])
        assert int(label) == labels()[dataset.copy_of[i]]
    np.testing.assert_array_equal(dataset.copy_of, np.concatenate([np.arange(N), np.repeat(chosen.selected, 3)]))
    assert torch.equal(dataset[-1][0], copies[-1])
    with pytest.raises(IndexError):
        dataset[N + 18]


def test_an_ordering_its_indices_and_their_mask_are_the_same_selection() -> None:
    chosen = ordering()
    mask = np.zeros(N, dtype=bool)
    mask[chosen.selected] = True
    expected = AugmentedDataset(samples(), np.sort(chosen.selected), Rotate([5])).copy_of
    np.testing.assert_array_equal(AugmentedDataset(samples(), mask, Rotate([5])).copy_of, expected)
    np.testing.assert_array_equal(np.sort(AugmentedDataset(samples(), chosen, Rotate([5])).copy_of), np.sort(expected))


def test_chosen_copies_come_in_their_order_with_the_weights_of_the_ordering() -> None:
    rotate = Rotate([-10, 10])
    X, y = pixels().reshape(N, -1), labels()
    copies = rotate.copies(pixels())
    chosen = choose_copies(SoftmaxHead().fit(X, y), (X, y), copies.reshape(N, 2, -1), budget=9, weight=3)
    dataset = AugmentedDataset(samples(), chosen, rotate, weighted=True)
    for row, (point, copy) in enumerate(zip(chosen.point[:9], chosen.copy[:9], strict=True), start=N):
        image, label, weight = dataset[row]
        assert torch.equal(image, torch.from_numpy(copies[point, copy]))
        assert int(label) == y[point]
        assert weight == np.float32(chosen.weight_at(9)) > 1
    assert dataset[3][2] == 1
    np.testing.assert_array_equal(dataset.weights, np.concatenate([np.ones(N), np.full(9, chosen.weight_at(9))]))


def test_a_point_may_share_its_weight_with_its_copies() -> None:
    chosen = ordering()
    dataset = AugmentedDataset(samples(), chosen, Rotate([-10, 10]), downweight=True)
    expected = np.ones(N + 12)
    expected[chosen.selected] = expected[N:] = 1 / 3
    np.testing.assert_array_equal(dataset.weights, expected)
    assert float(np.bincount(dataset.copy_of, dataset.weights)[chosen.selected[0]]) == pytest.approx(1)


class Sketches(Dataset[Any]):
    """Samples of any kind."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> Any:  # noqa: ANN401  (samples of any kind)
        grey = np.rint(pixels()[index, 0] * 255).astype(np.uint8)
        rgb = np.stack([grey, grey // 2, grey // 4], axis=2)
        label = int(labels()[index])
        return {
            "grey picture": (Image.fromarray(grey), label),
            "colour picture": (Image.fromarray(rgb), label),
            "rows and columns": (grey, label),
            "channels last": (rgb, label),
            "channels first": (np.moveaxis(rgb, 2, 0), label),
            "tensor of bytes": (torch.from_numpy(np.moveaxis(rgb, 2, 0)), label),
            "mapping": {"image": rgb, "label": label, "name": f"number {index}"},
            "mapping to a picture": {"img": Image.fromarray(rgb), "label": label},
        }[self.kind]


def image_of(sample: Any) -> Any:  # noqa: ANN401  (samples of any kind)
    return sample[next(key for key in ("image", "img") if key in sample)] if isinstance(sample, dict) else sample[0]


@pytest.mark.parametrize(
    "kind",
    [
        "grey picture",
        "colour picture",
        "rows and columns",
        "channels last",
        "channels first",
        "tensor of bytes",
        "mapping",
        "mapping to a picture",
    ],
)
def test_a_copy_is_of_its_images_kind_and_layout_and_keeps_the_rest_of_the_sample(kind: str) -> None:
    rotate, source = Rotate([-20, 20]), Sketches(kind)
    dataset = AugmentedDataset(source, [3], rotate)
    original, copy = source[3], dataset[N + 1]
    assert type(copy) is type(original)
    assert type(image_of(copy)) is type(image_of(original))
    grey = np.rint(pixels()[3] * 255).astype(np.uint8)
    planes = grey if "grey" in kind or "rows" in kind else np.concatenate([grey, grey // 2, grey // 4])
    expected = rotate.copies(planes[None])[0, 1]
    if "first" not in kind and "tensor" not in kind:
        expected = expected[0] if len(expected) == 1 else np.moveaxis(expected, 0, 2)
    np.testing.assert_array_equal(np.asarray(image_of(copy)), expected)
    if isinstance(copy, dict):
        assert {key: value for key, value in copy.items() if key not in ("image", "img")} == {
            key: value for key, value in original.items() if key not in ("image", "img")
        }
    else:
        assert copy[1:] == original[1:]


def test_what_comes_after_is_done_to_originals_and_copies_and_after_the_copy_is_made() -> None:
    dataset = AugmentedDataset(samples(), [5], Rotate([15]), then=lambda image: (image - 0.5) / 0.1)
    copy = torch.from_numpy(Rotate([15]).copies(pixels()[[5]])[0, 0])
    assert torch.equal(dataset[5][0], (torch.from_numpy(pixels())[5] - 0.5) / 0.1)
    assert torch.equal(dataset[N][0], (copy - 0.5) / 0.1)


def test_random_copies_follow_from_seed_epoch_and_number_alone() -> None:
    dataset = AugmentedDataset(samples(), ordering(), Noise(), copies=2, seed=4)
    first = [dataset[i][0] for i in range(N, N + 12)]
    assert torch.equal(torch.stack(first), torch.stack([dataset[i][0] for i in reversed(range(N, N + 12))][::-1]))
    assert len({image.numpy().tobytes() for image in first}) == 12
    dataset.set_epoch(1)
    second = [dataset[i][0] for i in range(N, N + 12)]
    assert not {image.numpy().tobytes() for image in first} & {image.numpy().tobytes() for image in second}
    again = AugmentedDataset(samples(), ordering(), Noise(), copies=2, seed=4)
    again.set_epoch(1)
    assert torch.equal(again[N + 5][0], second[5])
    other = AugmentedDataset(samples(), ordering(), Noise(), copies=2, seed=5)
    assert not torch.equal(other[N][0], first[0])


def test_draws_by_as_transform_are_the_same_in_every_epoch_and_those_that_were_chosen() -> None:
    transform = as_transform(Noise(), copies=3, seed=2)
    dataset = AugmentedDataset(samples(), [7, 1], transform)
    expected = torch.from_numpy(transform.copies(pixels()[[7, 1]]).reshape(6, 1, 8, 8))
    for epoch in (0, 1):
        dataset.set_epoch(epoch)
        assert torch.equal(torch.stack([dataset[i][0] for i in range(N, N + 6)]), expected)


@pytest.mark.parametrize("persistent", [False, True])
def test_workers_give_what_one_process_gives_in_each_epoch_though_the_augmentation_learns(persistent: bool) -> None:  # noqa: FBT001
    dataset = AugmentedDataset(samples(), ordering(), Noise(), copies=2)
    loader = DataLoader(dataset, batch_size=7, num_workers=2, persistent_workers=persistent, timeout=60)
    for epoch in range(2):
        dataset.set_epoch(epoch)
        found = [image for images, _ in loader for image in images]
        assert torch.equal(torch.stack(found), torch.stack([dataset[i][0] for i in range(len(dataset))]))
        assert not any(image.requires_grad for image in found)


def test_weights_reach_the_batch() -> None:
    plain = AugmentedDataset(samples(), ordering(), Rotate([5]), downweight=True, weighted=True)
    weights = torch.cat([batch[2] for batch in DataLoader(plain, batch_size=16)])
    assert weights.dtype == torch.float32
    np.testing.assert_allclose(weights.numpy(), plain.weights)
    mapped = AugmentedDataset(Sketches("mapping"), [1], Rotate([5]), weighted=True)
    assert next(iter(DataLoader(mapped, batch_size=16)))["weight"].tolist() == [1.0] * 16


def test_gradients_are_on_outside_and_the_batch_may_be_trained_with() -> None:
    dataset = AugmentedDataset(samples(), [0], Noise())
    assert not dataset[N][0].requires_grad
    assert torch.is_grad_enabled()


@pytest.mark.usefixtures("without_type_checks")
def test_data_sets_selections_and_transforms_that_do_not_fit_are_refused() -> None:
    class Stream:
        def __iter__(self) -> Iterator[int]:
            return iter([])

    chosen = by_points(ordering(), 2)
    cases: list[tuple[Any, Any, Any, dict[str, Any], str]] = [
        (Stream(), [0], Rotate([5]), {}, "dataset: got Stream, without a length"),
        (samples(), [N], Rotate([5]), {}, f"selection: indices from {N} to {N}; expected 0 to {N - 1}"),
        (samples(), [1, 1], Rotate([5]), {}, "selection: a point is there twice"),
        (samples(), [0.5], Rotate([5]), {}, "selection: shape .* expected an Ordering"),
        (TensorDataset(torch.zeros(3, 1, 8, 8)), ordering(), Rotate([5]), {}, f"selection: of {N} points, and the data set has 3"),
        (samples(), chosen, Rotate([5]), {}, f"selection: of {2 * N} copies, and the data set has {N} x 1"),
        (samples(), chosen, Rotate([5, 6]), {"downweight": True}, "downweight: belongs to chosen points"),
        (samples(), chosen, Noise(), {"copies": 2}, r"transform: random, while the chosen copies are certain ones; give the as_transform"),
        (samples(), [0], Noise(), {"copies": 0}, "copies: got 0"),
        (samples(), [0], "rotate", {}, "transform: got str; expected what makes copies"),
        (samples(), [0], Rotate([5]), {"seed": -1}, "seed: got -1"),
    ]
    for dataset, selection, transform, settings, message in cases:
        with pytest.raises(InputError, match=message):
            AugmentedDataset(dataset, selection, transform, **settings)


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        ({"pixels": 1}, "image: a sample has the keys pixels; name the image's as image="),
        ((Image.new("P", (8, 8)), 1), r"image: of mode 'P'; expected L or RGB: call convert\('RGB'\)"),
        (("photo.png", 1), "image: got str; expected a PIL image, an array or a tensor"),
        ((np.zeros(8), 1), r"image: shape \(8,\); expected \(height, width\)"),
    ],
)
def test_samples_without_an_image_are_refused(sample: Any, message: str) -> None:  # noqa: ANN401  (samples of any kind)
    with pytest.raises(InputError, match=message):
        AugmentedDataset([sample], [0], Rotate([5]))[1]


def test_a_batch_is_augmented_image_by_image_and_keeps_its_labels() -> None:
    batch = [samples()[i] for i in range(5)]
    together = collate(Noise(), seed=3)
    images, found = together(batch)
    assert found.tolist() == labels()[:5].tolist()
    change = (images - torch.from_numpy(pixels()[:5])).flatten(1)
    assert bool((change.abs() <= 0.15 + 1e-6).all())
    assert len({row.numpy().tobytes() for row in change}) == 5
    assert not images.requires_grad
    assert torch.equal(together(batch)[0], images)
    assert not torch.equal(collate(Noise(), seed=4)(batch)[0], images)
    together.set_epoch(1)
    assert not torch.equal(together(batch)[0], images)


def test_a_transformation_by_tau_and_a_mapping_are_collated_too() -> None:
    transformation = BoundedTransformation(3, 8, 8, rotation=20)
    batch = [Sketches("mapping")[i] | {"image": torch.rand(3, 8, 8)} for i in range(4)]
    found = collate(transformation)(batch)
    assert found["name"] == [f"number {i}" for i in range(4)]
    assert found["image"].shape == (4, 3, 8, 8)
    assert not torch.equal(found["image"], torch.stack([sample["image"] for sample in batch]))


@pytest.mark.parametrize("persistent", [False, True])
def test_workers_collate_what_one_process_collates(persistent: bool) -> None:  # noqa: FBT001
    together = collate(Noise())
    alone = DataLoader(samples(), batch_size=8, collate_fn=together)
    workers = DataLoader(samples(), batch_size=8, collate_fn=together, num_workers=2, persistent_workers=persistent, timeout=60)
    for epoch in range(2):
        together.set_epoch(epoch)
        for one, other in zip(alone, workers, strict=True):
            assert torch.equal(one[0], other[0])


@pytest.mark.usefixtures("without_type_checks")
def test_what_cannot_augment_a_batch_is_refused() -> None:
    with pytest.raises(InputError, match="augmentation: got str"):
        collate("rotate")
    with pytest.raises(InputError, match="image: the batch holds list; expected a tensor of images"):
        collate(Noise(), collate_fn=lambda batch: batch)([[1], [2]])


def test_a_sampler_draws_by_score_as_often_as_the_odds_say() -> None:
    found = scores()
    drawn = list(weighted_sampler(found, num_samples=40_000, seed=1))
    share = np.bincount(drawn, minlength=N) / len(drawn)
    np.testing.assert_allclose(share, found.values / found.values.sum(), atol=0.01)
    inverse = np.bincount(list(weighted_sampler(found, preference="inverse", num_samples=40_000)), minlength=N) / 40_000
    np.testing.assert_allclose(inverse, 1 / found.values / (1 / found.values).sum(), atol=0.01)


def test_a_sampler_takes_the_weights_of_an_augmented_data_set_and_its_seed() -> None:
    dataset = AugmentedDataset(samples(), ordering(), Rotate([-10, 10]), downweight=True)
    sampler = weighted_sampler(dataset, seed=2)
    assert len(sampler) == len(dataset)
    np.testing.assert_array_equal(sampler.weights.numpy(), dataset.weights)
    first, second = list(sampler), list(sampler)
    assert first != second
    again = weighted_sampler(dataset.weights, seed=2)
    assert [list(again), list(again)] == [first, second]
    images, _ = next(iter(DataLoader(dataset, batch_size=16, sampler=sampler)))
    assert images.shape == (16, 1, 8, 8)


def test_a_draw_without_replacement_takes_no_point_twice_and_none_without_weight() -> None:
    weights = torch.tensor([0.0, 1.0, 2.0, 3.0])
    for seed in range(20):
        assert sorted(weighted_sampler(weights, num_samples=3, replacement=False, seed=seed)) == [1, 2, 3]
    with pytest.raises(InputError, match="num_samples: 4 without replacement, and 3 points have a positive weight"):
        weighted_sampler(weights, replacement=False)


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize("weights", [[], [-1.0, 2.0], [np.nan, 1.0], [0.0, 0.0], [[1.0]]])
def test_what_is_no_weight_is_refused(weights: Any) -> None:  # noqa: ANN401  (anything)
    with pytest.raises(InputError, match="weights: shape"):
        weighted_sampler(weights, num_samples=1)
    with pytest.raises(InputError, match="preference: turns scores into odds"):
        weighted_sampler([1.0], preference="inverse")
    with pytest.raises(InputError, match="num_samples: got 0"):
        weighted_sampler([1.0], num_samples=0)


def test_by_points_and_its_ordering_give_the_same_rows() -> None:
    chosen = ordering()
    copies: CopyOrdering = by_points(chosen, 2)
    one, other = (AugmentedDataset(samples(), selection, Rotate([-10, 10])) for selection in (chosen, copies))
    for first, second in itertools.zip_longest(one, other):
        assert torch.equal(first[0], second[0])
