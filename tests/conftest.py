"""Shared by all tests: one torch thread, and small classification tasks on real features."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import warnings
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import settings
from jaxtyping import config
from sklearn.datasets import load_digits
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from augury.errors import InputError
from augury.head import SoftmaxHead
from augury.softmax import contrast

Array = npt.NDArray[Any]

# The same examples in every run, and no stop-watch: a busy machine is no failure.
settings.register_profile("augury", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("augury")


@pytest.fixture(scope="session", autouse=True)
def one_torch_thread() -> Iterator[None]:
    """Sums in one order, hence the same bits every time; and no threads that fight over a small machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@contextlib.contextmanager
def no_type_checks() -> Iterator[None]:
    """As users run it: thousands of calls take half the time, and what a wrong type meets is the package's own check."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config, "jaxtyping_disable", True)
        yield


@pytest.fixture
def without_type_checks() -> Iterator[None]:
    with no_type_checks():
        yield


class Task(NamedTuple):
    """Weighted training points, candidates that are not among them, and a target set."""

    X: Array
    y: Array
    weights: Array
    Xc: Array
    yc: Array
    Xt: Array
    yt: Array

    @property
    def train(self) -> tuple[Array, Array, Array]:
        return self.X, self.y, self.weights

    @property
    def candidates(self) -> tuple[Array, Array]:
        return self.Xc, self.yc

    @property
    def target(self) -> tuple[Array, Array]:
        return self.Xt, self.yt


def make_task(X: Array, y: Array, train: int, candidates: int) -> Task:
    """The first points to train on, with weights in [0.5, 2), the next as candidates, the rest as target."""
    weights = np.random.default_rng(7).uniform(0.5, 2, train)
    stop = train + candidates
    return Task(X[:train], y[:train], weights, X[train:stop], y[train:stop], X[stop:], y[stop:])


def digits_features() -> tuple[Array, Array]:
    """scikit-learn's digits: 64 grey values in [0, 1], 10 classes, in an order in which no writer's digits lie together."""
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    return digits.data[order] / 16, digits.target[order]


@pytest.fixture(scope="session")
def digits() -> Task:
    """Ten classes, 64 features, 200 training points."""
    X, y = digits_features()
    return make_task(X[:400], y[:400], train=200, candidates=60)


@pytest.fixture(scope="session")
def digits_3v8() -> Task:
    """Two classes, 64 features, 200 training points; the labels are 3 and 8."""
    X, y = digits_features()
    kept = np.isin(y, [3, 8])
    return make_task(X[kept], y[kept], train=200, candidates=60)


@pytest.fixture(scope="session")
def mnist_3v8() -> Task:
    """Two classes, 49 features (pixels averaged 4 x 4), the first 1000 images; the labels are the strings 3 and 8."""
    if not os.environ.get("AUGURY_DATA"):
        pytest.skip("AUGURY_DATA is not set: it names the folder that holds MNIST")
    from augury.data import load

    try:
        examples = load("mnist").only(["3", "8"]).first(1000)
    except InputError as error:
        pytest.skip(f"AUGURY_DATA holds no MNIST: {error}")
    pooled = examples.to_float().astype(np.float64).reshape(-1, 7, 4, 7, 4).mean(axis=(2, 4)).reshape(-1, 49)
    return make_task(pooled, np.array(examples.classes)[examples.labels], train=600, candidates=100)


@pytest.fixture(scope="session", params=["digits", "digits_3v8", "mnist_3v8"])
def task(request: pytest.FixtureRequest) -> Task:
    """Each of the three tasks in turn."""
    return request.getfixturevalue(request.param)


class PeakMemory(TorchDispatchMode):
    """The most float64 numbers that tensors made inside the `with` block held at one time, apart from those of `inputs`."""

    def __init__(self, *inputs: Array) -> None:
        super().__init__()
        self.known = {array.ctypes.data for array in inputs}
        self.holders: Counter[int] = Counter()
        self.now = self.peak = 0

    def __torch_dispatch__(
        self, func: Callable[..., object], types: object, args: tuple[object, ...] = (), kwargs: dict[str, object] | None = None
    ) -> object:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and tensor.untyped_storage().data_ptr() not in self.known:
                self._hold(tensor)
        return result

    def _hold(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        address, size = storage.data_ptr(), storage.nbytes() // 8
        if not self.holders[address]:
            self.now += size
            self.peak = max(self.peak, self.now)
        self.holders[address] += 1
        weakref.finalize(tensor, self._release, address, size)

    def _release(self, address: int, size: int) -> None:
        self.holders[address] -= 1
        if not self.holders[address]:
            self.now -= size


def steepest_leverage(head: SoftmaxHead, X: Array, weights: Array) -> float:
    """The largest leverage of a point in one direction, by a dense Hessian: the largest eigenvalue of w S f^T H^-1 f over all points."""
    classes, f = len(head.classes_), np.column_stack([X, np.ones(len(X))])
    B = contrast(classes, torch.zeros(1, dtype=torch.float64)).numpy()
    p = np.asarray(head.predict_proba(X))
    S = np.einsum("ck,nc,cl->nkl", B, p, B) - np.einsum("nk,nl->nkl", p @ B, p @ B)
    size = (classes - 1) * f.shape[1]
    penalty = np.kron(np.eye(classes - 1), np.diag([*np.ones(X.shape[1]), 0.0])) / head.C
    H = np.einsum("n,nkl,na,nb->kalb", weights, S, f, f, optimize=True).reshape(size, size) + penalty
    inverse = np.linalg.inv(H).reshape(classes - 1, f.shape[1], classes - 1, f.shape[1])
    A = np.einsum("na,kalb,nb->nkl", f, inverse, f, optimize=True)
    return float(np.linalg.eigvals(weights[:, None, None] * S @ A).real.max())


class Answer(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


Augury = Callable[..., Answer]


@pytest.fixture
def augury(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Augury:
    """The command `augury` in this process, to its exit."""
    cli = importlib.import_module("augury.cli")  # of which most tests have no need
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # which the command sets, and pytest puts back

    def call(*words: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["augury", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        return Answer(left.value.code or 0, *capfd.readouterr())

    return call
