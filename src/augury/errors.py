"""The one exception that bad input raises.

Every message names the argument, says what was wrong, what was expected, and the cure, so that a person can mend the call without reading
a stack trace. The command line prints the message alone and exits with 2.
"""

from __future__ import annotations


class InputError(ValueError):
    """Bad input from the user: a wrong argument, a broken file, data that cannot be learned from.

    A `ValueError`, so that callers who know scikit-learn's conventions catch it as they expect.
    """


class MissingExtraError(InputError):
    """An optional dependency is needed and absent; the message gives the command that installs it."""

    def __init__(self, package: str, *, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the package {package!r}, which is not installed: run `pip install 'augury[{extra}]'`")
