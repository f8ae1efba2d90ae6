"""Hugging Face data sets and pandas DataFrames, in and out."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset

from augury import Examples, Flip, Ordering, Rotate, Scores, add_copies, by_points, choose_copies, from_dataset, load, rank, score, select
from augury.errors import InputError
from augury.head import SoftmaxHead
from conftest import Array, digits_features

N = 40
NAMES = [f"digit {i}" for i in range(10)]


def pixels() -> Array:
    return np.rint(digits_features()[0][:N].reshape(N, 8, 8) * 255).astype(np.uint8)


def labels() -> Array:
    return digits_features()[1][:N]


def pictures() -> list[Image.Image]:
    return [Image.fromarray(image) for image in pixels()]


def hugging_face(**more: list[Any]) -> datasets.Dataset:
    columns = {"image": pictures(), "label": labels().tolist(), "writer": [f"writer {i}" for i in range(N)]}
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=NAMES), "writer": datasets.Value("string")}
        | {name: datasets.Value("float64") for name in more}
    )
    return datasets.Dataset.from_dict(columns | more, features=features)


def frame() -> pd.DataFrame:
    return pd.DataFrame({"image": pictures(), "label": labels(), "writer": [f"writer {i}" for i in range(N)]}, index=np.arange(N) + 100)


def scores() -> Scores:
    return score(pixels().reshape(N, -1) / 255, labels(), "loss")


def ordering(budget: int = 4) -> Ordering:
    return rank(scores(), seed=1).within(budget)


def encoded(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format="PNG")
    return stream.getvalue()


def test_a_hugging_face_data_set_is_read_as_it_is_from_the_disk(tmp_path: Path) -> None:
    dataset = hugging_face()
    dataset.save_to_disk(str(tmp_path / "saved"))
    found, expected = from_dataset(dataset), load(tmp_path / "saved")
    np.testing.assert_array_equal(found.images, expected.images)
    np.testing.assert_array_equal(found.images[:, 0], pixels())
    np.testing.assert_array_equal(found.labels, labels())
    assert found.classes == expected.classes == tuple(NAMES)
    assert found.origin[3] == "dataset/train/3"


def test_rows_that_were_picked_or_formatted_are_read_as_they_are_seen() -> None:
    dataset = hugging_face().rename_columns({"image": "photo", "label": "kind"}).select([5, 3, 7, 20]).with_format("torch")
    found = from_dataset(dataset, image="photo", label="kind")
    np.testing.assert_array_equal(found.images[:, 0], pixels()[[5, 3, 7, 20]])
    np.testing.assert_array_equal(found.labels, labels()[[5, 3, 7, 20]])
    assert dataset.format["type"] == "torch"


@pytest.mark.parametrize("kind", ["pictures", "arrays", "bytes", "paths", "mappings", "floats"])
def test_a_frame_is_read_whatever_its_cells_hold(kind: str, tmp_path: Path) -> None:
    for i, picture in enumerate(pictures()):
        picture.save(tmp_path / f"{i}.png")
    cells: dict[str, list[Any]] = {
        "pictures": pictures(),
        "arrays": list(pixels()),
        "bytes": [encoded(picture) for picture in pictures()],
        "paths": [str(tmp_path / f"{i}.png") for i in range(N)],
        "mappings": [{"bytes": encoded(picture), "path": None} for picture in pictures()],
        "floats": list((pixels() / 255).astype(np.float32)),
    }
    found = from_dataset(frame().assign(image=pd.Series(cells[kind], index=frame().index, dtype=object)))
    assert found.images.dtype == (np.float32 if kind == "floats" else np.uint8)
    np.testing.assert_array_equal(found.images[:, 0], (pixels() / 255).astype(np.float32) if kind == "floats" else pixels())
    np.testing.assert_array_equal(found.labels, labels())
    assert found.classes == tuple("0123456789")


def test_the_categories_of_a_frame_are_the_classes() -> None:
    table = frame().assign(label=lambda t: pd.Categorical([NAMES[i] for i in t["label"]], categories=[*NAMES, "none of them"]))
    found = from_dataset(table)
    assert found.classes == (*NAMES, "none of them")
    np.testing.assert_array_equal(found.labels, labels())


def test_pictures_of_several_sizes_are_brought_to_one() -> None:
    table = frame().assign(image=[picture.resize((8 + i % 3, 8)) for i, picture in enumerate(pictures())])
    assert from_dataset(table).shape == (1, 8, 8)
    assert from_dataset(table, size=6).shape == (1, 6, 6)
    assert from_dataset(hugging_face(), size=6).shape == (1, 6, 6)
    assert from_dataset(frame().assign(image=list(pixels())), size=6).shape == (1, 6, 6)


class Pairs:
    """A map-style data set with named classes, as torchvision's are."""

    classes = NAMES

    def __init__(self, kind: str = "tuple") -> None:
        self.kind = kind

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> Any:  # noqa: ANN401  (samples of any kind)
        pair = pictures()[index], int(labels()[index])
        return pair if self.kind == "tuple" else {"img": pair[0], "label": pair[1]}


@pytest.mark.parametrize("kind", ["tuple", "mapping"])
def test_a_map_style_data_set_is_read_with_its_classes(kind: str) -> None:
    found = from_dataset(Pairs(kind))
    np.testing.assert_array_equal(found.images[:, 0], pixels())
    np.testing.assert_array_equal(found.labels, labels())
    assert found.classes == tuple(NAMES)


def test_a_tensor_data_set_is_read() -> None:
    found = from_dataset(TensorDataset(torch.from_numpy(pixels()[:, None]), torch.from_numpy(labels())))
    np.testing.assert_array_equal(found.images[:, 0], pixels())


def test_selected_rows_come_first_to_take_first_with_their_scores() -> None:
    chosen = ordering()
    expected = chosen.scores.values[chosen.selected]
    table = select(hugging_face(), chosen)
    assert table["score"][:] == expected.tolist()
    assert table["writer"][:] == [f"writer {i}" for i in chosen.selected]
    assert table.features["label"] == hugging_face().features["label"]
    rows = select(frame(), chosen, "20%")
    assert rows.index.tolist() == (chosen.within(8).selected + 100).tolist()
    np.testing.assert_array_equal(rows["score"], chosen.scores.values[chosen.within(8).selected])


@pytest.mark.parametrize("kind", ["hugging face", "pandas"])
def test_copies_are_written_back_with_what_they_are_copies_of(kind: str) -> None:
    rotate, chosen = Rotate([-10, 10]), ordering()
    table = add_copies(hugging_face() if kind == "hugging face" else frame(), chosen, rotate)
    assert len(table) == N + 8
    rows = table.to_list() if isinstance(table, datasets.Dataset) else table.to_dict("records")
    images = list(table["image"])
    expected = rotate.copies(pixels()[chosen.selected][:, None]).reshape(8, 8, 8)
    for i, row in enumerate(rows):
        source = i if i < N else int(chosen.selected[(i - N) // 2])
        assert row["score"] == chosen.scores.values[source]
        assert row["writer"] == f"writer {source}"
        assert row["label"] == labels()[source]
        assert (row["copy"], row["copy_of"]) == ((None, None) if i < N else (rotate.names[i % 2], source)) or (
            i < N and pd.isna(row["copy"]) and pd.isna(row["copy_of"])
        )
        np.testing.assert_array_equal(np.asarray(images[i]), pixels()[source] if i < N else expected[i - N])


def test_a_written_data_set_keeps_its_features_and_goes_to_the_disk_and_back(tmp_path: Path) -> None:
    table = add_copies(hugging_face(), ordering(), Flip())
    assert {name: table.features[name] for name in ("image", "label", "writer")} == dict(hugging_face().features)
    table.save_to_disk(str(tmp_path / "augmented"))
    found: Examples = load(tmp_path / "augmented")
    assert len(found) == N + 4
    np.testing.assert_array_equal(found.images[N:], pixels()[ordering().selected][:, None, :, ::-1])
    table.to_parquet(tmp_path / "augmented.parquet")
    assert pd.read_parquet(tmp_path / "augmented.parquet")["copy_of"].dropna().tolist() == ordering().selected.tolist()


def test_chosen_copies_are_written_with_the_fall_of_loss_that_each_was_predicted_to_bring() -> None:
    rotate = Rotate([-10, 10])
    X = pixels().reshape(N, -1) / 255
    copies = rotate.copies(pixels()[:, None]).reshape(N, 2, -1) / 255
    chosen = choose_copies(SoftmaxHead().fit(X, labels()), (X, labels()), copies, budget=7)
    table = add_copies(frame(), chosen, rotate)
    np.testing.assert_array_equal(table["score"][N:], -chosen.influence[:7])
    assert table["score"][:N].isna().all()
    assert table["copy_of"][N:].tolist() == chosen.point[:7].tolist()
    assert table["copy"][N:].tolist() == [rotate.names[j] for j in chosen.copy[:7]]
    assert table.index.tolist() == list(range(N + 7))
    more = add_copies(frame(), chosen, rotate, 9)
    assert len(more) == N + 9


def test_images_of_different_sizes_and_a_random_augmentation_are_copied_each_in_its_own_size() -> None:
    sized = [picture.resize((8 + i, 8)) for i, picture in enumerate(pictures())]
    table = add_copies(frame().assign(image=sized), [4, 2], torch.nn.Identity())
    assert [picture.size for picture in table["image"][N:]] == [(12, 8)] * 4 + [(10, 8)] * 4
    assert table["copy"][N] == "Identity-1"
    assert table["score"].isna().all()


@pytest.mark.usefixtures("without_type_checks")
def test_what_does_not_fit_together_is_refused() -> None:
    chosen = ordering()
    with pytest.raises(InputError, match="table: got DatasetDict; expected a Hugging Face Dataset"):
        select(datasets.DatasetDict(train=hugging_face()), chosen)  # type: ignore[type-var]
    with pytest.raises(InputError, match=r"dataset: got DatasetDict; expected a Hugging Face Dataset \(one split\)"):
        from_dataset(datasets.DatasetDict(train=hugging_face()))
    with pytest.raises(InputError, match="table: has a column 'score' already"):
        select(hugging_face(score=[0.0] * N), chosen)
    with pytest.raises(InputError, match="table: has a column 'copy_of' already"):
        add_copies(frame().assign(copy_of=0), chosen, Flip())
    with pytest.raises(InputError, match=f"ordering: of {N} points, and the table has 3 rows"):
        select(frame()[:3], chosen)
    with pytest.raises(InputError, match=r"ordering: got CopyOrdering; expected an augury\.Ordering"):
        select(frame(), by_points(chosen, 2))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="budget: given with rows that are chosen already"):
        add_copies(frame(), [1], Flip(), 3)
    with pytest.raises(InputError, match="image: no column 'image' or 'img'; there are label, writer"):
        from_dataset(frame().drop(columns="image"))
    with pytest.raises(InputError, match="label: no column 'kind'; there are image, label, writer"):
        from_dataset(hugging_face(), label="kind")
    with pytest.raises(InputError, match="label: a sample has no 2"):
        from_dataset(Pairs(), label=2)
    with pytest.raises(InputError, match="image: got int; expected a PIL image"):
        from_dataset(frame().assign(image=1))
