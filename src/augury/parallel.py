"""The one place where work is spread: over this machine's processes, or over a cluster.

All parallel work of the package is a function called for each of some tuples of arguments. `each` calls it here, in joblib's processes, or
on the workers of a Ray or Dask cluster through joblib's backends; results are the same to the last bit, since every worker computes with
one thread. Work that a cluster's worker took with it when it died is done again by another one.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import pickle
import socket
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, get_args

import torch
from joblib import Parallel, delayed
from joblib.externals.loky.process_executor import BrokenProcessPool, TerminatedWorkerError

from augury.choices import EngineName
from augury.errors import InputError, MissingExtraError

T = TypeVar("T")
ATTEMPTS = 3  # more that a cluster makes of work whose worker died
PATIENCE = 10  # seconds until a machine that does not answer counts as away


@dataclass(frozen=True)
class Engine:
    """Where work is done.

    Parameters
    ----------
    jobs
        Processes, -1 for one a core. On a Ray cluster: workers, 1 or -1 for one a core of the cluster; a Dask cluster uses all its threads.
    name
        `local`: this machine's processes. `ray`, `dask`: a cluster's.
    address
        The cluster's: `auto`, `HOST:6379` or `ray://HOST:10001` for Ray, `tcp://HOST:8786` for Dask; None: one is started on this machine,
        and stopped when the work is done.
    kept
        Workers that are ready: what `held` gives.

    Raises
    ------
    InputError
        If there is no such engine, its package is not installed, or the local one is given an address.
    """

    jobs: int = 1
    name: EngineName = "local"
    address: str | None = None
    kept: Parallel | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.name not in get_args(EngineName):
            raise InputError(f"engine: got {self.name!r}; expected one of {', '.join(get_args(EngineName))}")
        if self.jobs == 0:
            raise InputError("jobs: got 0; expected a number of processes, or -1 for one a core")
        if self.name == "local" and self.address is not None:
            raise InputError(f"address: {self.address!r} given, and the engine is local; expected engine 'ray' or 'dask' with an address")
        package = _PACKAGES.get(self.name)
        if package is not None and importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, extra=self.name, purpose=f"engine {self.name!r}")

    @classmethod
    def of(cls, jobs: int | Engine) -> Engine:
        """So many processes of this machine, or the engine as it is."""
        return jobs if isinstance(jobs, Engine) else cls(jobs)


_PACKAGES = {"ray": "ray", "dask": "distributed"}
LOCAL = Engine()


def each(function: Callable[..., T], calls: Iterable[tuple[Any, ...]], engine: Engine = LOCAL, *, ordered: bool = True) -> Iterator[T]:
    """The results of `function(*call)` for each of `calls`, each given as soon as it is there: in their order, or as they come.

    Raises
    ------
    InputError
        If workers end before their work is done, which is mostly for lack of memory, or cannot be given it, or if there is no such cluster.
    """
    work = (delayed(_single)(function, call) for call in calls)
    with _pool(engine, "generator" if ordered else "generator_unordered") as pool, _losses_told(engine):
        yield from pool(work)


@contextlib.contextmanager
def held(engine: Engine) -> Iterator[Engine]:
    """The same engine with a cluster's workers kept from one `each` to the next inside this block, so that they start and import but once.

    Results then come in order. This machine's processes are kept by joblib as it is.
    """
    if engine.name == "local" or engine.kept is not None:
        yield engine
        return
    with _pool(engine, "generator") as pool:
        yield replace(engine, kept=pool)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one of torch's threads inside this block, so that processes do not fight for the cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _single(function: Callable[..., T], call: tuple[Any, ...]) -> T:
    with one_thread():
        return function(*call)


@contextlib.contextmanager
def _pool(engine: Engine, return_as: str) -> Iterator[Parallel]:
    if engine.kept is not None:
        yield engine.kept
        return
    with _CLUSTERS[engine.name](engine) as backend:
        jobs = -1 if backend is not None and engine.jobs == 1 else engine.jobs
        with Parallel(n_jobs=jobs, backend=backend, return_as=return_as) as pool:
            yield pool


@contextlib.contextmanager
def _local(_: Engine) -> Iterator[None]:
    """No backend: joblib's own, or the one that the caller has chosen with `joblib.parallel_config`."""
    yield None


@contextlib.contextmanager
def _ray(engine: Engine) -> Iterator[Any]:
    """Ray's backend for joblib on a connected cluster, whose workers are started again, with their work, when they die."""
    ray, backend = importlib.import_module("ray"), importlib.import_module("ray.util.joblib.ray_backend").RayBackend
    connected = not ray.is_initialized()
    if connected:
        try:
            _knock(engine.address)
            own = {"num_cpus": None if engine.jobs in (1, -1) else engine.jobs, "include_dashboard": False}
            ray.init(log_to_driver=False, logging_level="ERROR", **(own if engine.address is None else {"address": engine.address}))
        except (OSError, ValueError, RuntimeError) as error:
            raise _unreachable("Ray", engine, "ray start --head", error) from error
    kind = type("Restarting", (backend,), {"supports_return_generator": True})  # which it does as it is, untold
    try:
        yield kind(ray_remote_args={"num_cpus": 1, "max_restarts": ATTEMPTS, "max_task_retries": ATTEMPTS})
    finally:
        if connected:
            ray.shutdown()


@contextlib.contextmanager
def _dask(engine: Engine) -> Iterator[Any]:
    """The backend for Dask on a connected cluster, whose scheduler gives the work of a worker that died to another one."""
    distributed, backend = importlib.import_module("distributed"), importlib.import_module("joblib._dask").DaskDistributedBackend
    with contextlib.ExitStack() as stack:
        place = engine.address
        if place is None:
            workers = None if engine.jobs in (1, -1) else engine.jobs
            place = stack.enter_context(distributed.LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None))
        try:
            _knock(engine.address)
            client = stack.enter_context(distributed.Client(place, set_as_default=False))
        except (OSError, ValueError) as error:
            raise _unreachable("Dask", engine, "dask scheduler", error) from error
        own = {"submit": _submit, "retrieve_result_callback": _retrieve, "effective_n_jobs": _at_least_two}
        kind = type("Telling", (backend,), own)
        yield kind(client=client, retries=ATTEMPTS)


def _submit(self: Any, work: Any, callback: Callable[[Any], None]) -> Any:  # noqa: ANN401  (joblib ships no types)
    """As the backend does, but tell of work that the scheduler gives up, too; joblib would else wait for it for ever."""
    future = super(type(self), self).submit(work, callback)

    def tell(done: Future[Any]) -> None:
        if done.exception() is not None:
            callback(done.exception())

    future.add_done_callback(tell)
    return future


def _retrieve(self: Any, out: Any) -> Any:  # noqa: ANN401  (as above)
    if isinstance(out, BaseException):
        raise out
    return super(type(self), self).retrieve_result_callback(out)


def _at_least_two(self: Any, n_jobs: int) -> int:  # noqa: ANN401  (as above)
    """The cluster's threads; never one, which there is while other workers start again: joblib would do the work in this process."""
    return max(2, int(super(type(self), self).effective_n_jobs(n_jobs)))


_CLUSTERS: dict[EngineName, Callable[[Engine], contextlib.AbstractContextManager[Any]]] = {"local": _local, "ray": _ray, "dask": _dask}


def _knock(address: str | None) -> None:
    """Raise an `OSError` at once where nothing listens at HOST:PORT; the engines would try for minutes."""
    host, _, port = (address or "").rpartition("://")[2].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), PATIENCE).close()


def _unreachable(what: str, engine: Engine, command: str, error: Exception) -> InputError:
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    return InputError(
        f"address: no {what} cluster answers at {engine.address!r} ({reason}); start one with `{command}`, and give the address it prints"
    )


@contextlib.contextmanager
def _losses_told(engine: Engine) -> Iterator[None]:
    """Turn the loss of workers, for which each engine has an exception of its own, into one clear error."""
    try:
        yield
    except (pickle.PicklingError, BrokenProcessPool) as error:
        if isinstance(error, TerminatedWorkerError):
            raise _lost(engine) from error
        raise InputError(
            f"jobs: the work cannot be sent to a worker ({error}); use one process, or a network and copies of classes that a new process "
            "can import, without locks or open files"
        ) from error
    except Exception as error:
        if type(error).__name__ not in _LOST:
            raise
        raise _lost(engine) from error


def _lost(engine: Engine) -> InputError:
    again = "" if engine.name == "local" else f", {1 + ATTEMPTS} times in a row"
    return InputError(
        f"jobs: a worker process ended before its work was done{again}, probably for lack of memory; give fewer jobs (now "
        f"{engine.jobs}), or workers with more memory. What is stored by then is not done again"
    )


_LOST = {"ActorDiedError", "ActorUnavailableError", "WorkerCrashedError", "OutOfMemoryError", "KilledWorker"}  # Ray's and Dask's
