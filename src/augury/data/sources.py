"""`load`: one call for every source of labelled images that lies on disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from augury.data.examples import Examples
from augury.data.folder import ImageFolder
from augury.data.named import NAMED, NamedSet
from augury.data.npz import NpzFile
from augury.data.parquet import ParquetFiles, holds_parquet
from augury.data.pictures import resized
from augury.data.saved import SavedDataset, is_saved_dataset
from augury.data.splits import standard_name
from augury.errors import InputError

KINDS = "an .npz file, a .parquet file, or a folder: of images (one sub-folder a class), of Parquet files, or a saved Hugging Face data set"


# Each kind of source has `splits`, the names of its parts, and `read(split)`, which gives one part as checked `Examples`.
Source = NamedSet | NpzFile | ParquetFiles | SavedDataset | ImageFolder


def load(source: str | Path, *, split: str = "train", data_dir: str | Path | None = None, size: int | None = None) -> Examples:
    """Read labelled images, in the source's order (folders and files sorted by name).

    Image files become grey where every one of them, in every split, is grey, and RGB otherwise; transparent pixels are laid on white,
    EXIF's orientation is applied, 16-bit grey is reduced to 8 bits. Labels count into the classes of all splits together.

    Parameters
    ----------
    source
        A named set, as a string: `digits` (embedded; scikit-learn's 1,797 images of 8 x 8, of which the first 1,000 are `train` and the
        other 797 `test`), `mnist`, `cifar10` or `norb` (small NORB, the first camera of each pair), in their publishers' formats.
        Or a path (write `./mnist` for a folder of that name):
        an image folder, one sub-folder a class, nested folders allowed, possibly below folders `train`, `val` and `test`;
        an `.npz` file with `images`, `labels` and, if you like, `classes` and `origin`, as `Examples.save` writes it;
        a Parquet file or a folder of them, with a column `image` or `img` (encoded bytes, Hugging Face's {bytes, path}, or nested lists
        of pixels) and a column `label`;
        a data set that Hugging Face's `save_to_disk` wrote.
    split
        `train`, `validation` (or `val`, `valid`, `dev`), `test`, or a name of the publisher's own. A source without splits is all `train`.
    data_dir
        Where the files of named sets lie; the environment variable `AUGURY_DATA` if not given.
    size
        Give every image this height and width in pixels: the shorter side is resized to it (bilinear, antialiased), of the longer one the
        centre is kept. If not given, image files that all have one size of at most 64 on the shorter side keep it; others become squares
        of their median shorter side, at most 64, which is told on standard error.

    Raises
    ------
    InputError
        If the source or split is missing, of an unknown kind, empty, damaged (with the path of what is), unlabelled, of a single class, or
        holds pixels that are no image.
    """
    if size is not None and size < 1:
        raise InputError(f"size: {size}; expected a number of pixels, 1 or more")
    opened = _open(source, data_dir, size)
    name = standard_name(split)
    if name not in opened.splits:
        raise InputError(f"split: {source} has no split {split!r}; it has {', '.join(opened.splits)}")
    examples = opened.read(name)
    if size is None or examples.shape[1:] == (size, size):
        return examples
    return replace(examples, images=resized(examples.images, size))


def available_splits(source: str | Path, data_dir: str | Path | None = None) -> tuple[str, ...]:
    """The splits that the publisher gave, such as ("train", "test"): what is missing must be split off by the user.

    The usual ones come first and in this order: `train`, `validation`, `test`. A source without splits gives ("train",). Costs a look at
    names, never at images.
    """
    return _open(source, data_dir, size=None).splits


def _open(source: str | Path, data_dir: str | Path | None, size: int | None) -> Source:
    if isinstance(source, str) and source in NAMED:
        return NamedSet(source, data_dir)
    path = Path(source).expanduser()
    if not path.exists():
        raise InputError(f"source: no file or folder {str(source)!r}, nor a named set of that name ({', '.join(NAMED)})")
    if path.is_dir():
        return _open_folder(path, size)
    if path.suffix.lower() == ".npz":
        return NpzFile(path)
    if path.suffix.lower() == ".parquet":
        return ParquetFiles(path, size)
    raise InputError(f"source: {source} is of an unknown kind ({path.suffix or 'no file ending'}); expected {KINDS}")


def _open_folder(path: Path, size: int | None) -> Source:
    if is_saved_dataset(path):
        return SavedDataset(path, size)
    if holds_parquet(path):
        return ParquetFiles(path, size)
    return ImageFolder(path, size)
