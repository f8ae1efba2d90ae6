"""The copies that a transform makes.

    python examples/plot_copies.py

Left the digit itself. Exhaustive transforms have a fixed list of copies, each with a name. They compose with `Compose` and unite with
`Union`; the same can be written as a text, `rotate:30:4,translate:1,crop:1+flip`, which the command line and `AugmentationSelector` take.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

import augury

TRANSFORMS = {
    "Rotate((-30, -15, 15, 30))": augury.Rotate((-30, -15, 15, 30)),
    "Translate(1)": augury.Translate(1),
    "Crop(1)": augury.Crop(1),
    "Flip()": augury.Flip(),
    "Compose(Crop(1), Flip())": augury.Compose(augury.Crop(1), augury.Flip()),
}


def main() -> Figure:
    """All copies of one digit by each transform."""
    digits = augury.load("digits").first(8)
    image = digits.images[7:8]
    figure, axes = plt.subplots(len(TRANSFORMS), 5, figsize=(9, 8))
    for axis in axes.flat:
        axis.set_axis_off()
    for row, (name, transform) in zip(axes, TRANSFORMS.items(), strict=True):
        row[0].imshow(image[0, 0], cmap="gray_r")
        row[0].set_title(name, fontsize=9)
        for axis, copy, label in zip(row[1:], transform.copies(image)[0], transform.names, strict=False):
            axis.imshow(copy[0], cmap="gray_r")
            axis.set_title(label, fontsize=8)
        print(f"{name}: {len(transform)} {'copy' if len(transform) == 1 else 'copies'}")
    figure.tight_layout()
    return figure


if __name__ == "__main__":
    main().savefig("plot_copies.png")
