"""Our docstrings say what is returned in words, where numpy's style expects a type: give the words the place of the description."""

from __future__ import annotations

from typing import Any

import griffe


class InWords(griffe.Extension):
    """What is returned, as its docstring describes it."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:  # noqa: ANN401  (what else griffe gives)
        """Mend the docstring of one object."""
        for section in [] if obj.docstring is None else obj.docstring.parsed:
            if section.kind in (griffe.DocstringSectionKind.returns, griffe.DocstringSectionKind.yields):
                for item in section.value:
                    if not item.description and " " in str(item.annotation):
                        item.description, item.annotation = str(item.annotation), getattr(obj, "returns", None)
