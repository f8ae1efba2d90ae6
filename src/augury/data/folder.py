"""Image folders: one sub-folder a class, possibly below one folder a split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from augury.data.arrays import from_arrays
from augury.data.examples import Examples
from augury.data.pictures import Picture, read_pictures
from augury.data.splits import SYNONYMS, by_standard_name
from augury.errors import InputError
from augury.progress import say

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")

Files = Mapping[str, list[Path]]  # class -> its images


@dataclass(frozen=True)
class ImageFolder:
    """A folder whose sub-folders are the classes, or are splits that hold the classes.

    Hidden files, and files that are no images, are passed over. The classes are the sub-folders' names, sorted, of all splits together; the
    images of a class are all below its folder, sorted by path. `origin` is the path relative to the folder, with `/`.
    """

    path: Path
    size: int | None = None

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that the folder is divided into; ("train",) where it holds the classes themselves."""
        return tuple(_split_folders(self.path))

    def read(self, split: str) -> Examples:
        """One split. All files are listed and their headers read, for the classes, the size and the channels are those of all splits."""
        listing = {name: _class_files(folder) for name, folder in _split_folders(self.path).items()}
        classes = sorted({name for files in listing.values() for name in files})
        labels = [name for name, files in listing[split].items() for _ in files]
        pictures = {name: [Picture(str(file), file) for file in _all(files)] for name, files in listing.items()}
        images = read_pictures(pictures, split, self.size, str(self.path))
        origin = [file.relative_to(self.path).as_posix() for file in _all(listing[split])]
        return from_arrays(images, labels, classes, origin)


def _split_folders(path: Path) -> dict[str, Path]:
    folders = {folder.name: folder for folder in _sub_folders(path)}
    splits = [name for name in folders if name.lower() in SYNONYMS]
    others = [name for name in folders if name not in splits]
    if len(splits) >= 2 and others:
        raise InputError(
            f"{path}: beside the splits {', '.join(splits)} lies a folder {others[0]!r}; expected splits or classes, not both: move it away"
        )
    if splits and not others:
        return by_standard_name({name: folders[name] for name in splits}, path)
    return {"train": path}


def _class_files(folder: Path) -> Files:
    loose = [file for file in _visible(folder) if _is_image(file)]
    files = {child.name: sorted(_images_below(child), key=Path.as_posix) for child in _sub_folders(folder)}
    if not files and loose:
        raise InputError(f"{folder}: labels are missing: the images lie directly in it; expected one sub-folder a class, with its images")
    if not any(files.values()):
        raise InputError(f"{folder}: no images; expected one sub-folder a class, with files ending in {', '.join(ENDINGS)}")
    empty = [name for name in files if not files[name]]
    if empty:
        raise InputError(f"{folder / empty[0]}: a class without images; add some ({', '.join(ENDINGS)}) or delete the folder")
    if loose:
        say(f"{folder}: left out what lies in no class's folder (images: {len(loose)}), such as {loose[0].name}")
    return files


def _all(files: Files) -> list[Path]:
    return [file for group in files.values() for file in group]


def _images_below(folder: Path) -> Iterator[Path]:
    for child in _visible(folder):
        if child.is_dir():
            yield from _images_below(child)
        elif _is_image(child):
            yield child


def _sub_folders(folder: Path) -> list[Path]:
    return [child for child in _visible(folder) if child.is_dir()]


def _visible(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if not child.name.startswith("."))


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in ENDINGS and file.is_file()
