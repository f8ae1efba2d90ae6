"""Which parts of the greedy choice of copies pay? Each left out, changed, or replaced by what others propose, on paper 2's nine tasks.

    AUGURY_DATA=FOLDER AUGURY_MODELS=FOLDER python experiments/chosen_ablated.py

The points, networks, features, targets and the weight by `auto` are those of `augury reproduce copies` with the preset `code`, whose
folder `copies/` must be there. A variant changes one thing of `choose_copies`; all choose up to a quarter of the copies. Finished tasks and
seeds are not measured again.
"""

from __future__ import annotations

import heapq
import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from augury.cells import Cells
from augury.copies import training_set
from augury.copies.growing import GrowingFit
from augury.copies.ordering import CopyOrdering, shared_weight
from augury.copies.pool import CopyPool
from augury.copies.rounds import GROWTH, STEPS, round_size, round_steps, shares
from augury.curvature import FittedHead
from augury.experiment.copies.drawn import Drawn
from augury.experiment.copies.measure import fit, read
from augury.experiment.copies.sweep import Sweep
from augury.experiment.subsampling import paper_task
from augury.experiment.subsampling.tasks import NAMES
from augury.files import write_text
from augury.head import SoftmaxHead
from augury.report.copies.results import WORTHWHILE

FOLDER = Path(__file__).parent / "copies"
NETWORKS = Path(__file__).parent / "subsampling" / "networks"
SEEDS, PERCENTS = 5, (1, 5, 10, 25)
NEAR = 4  # candidates among which a variant that looks at pairs chooses, for each copy to be chosen
T = TypeVar("T")
Picked = Int[Tensor, " picked"]


class Step(NamedTuple):
    """What a step chooses from: so many copies, each of this weight once it has joined."""

    fitted: GrowingFit
    pool: CopyPool
    worth: Float[Tensor, " copies"]
    count: int
    weight: float

    def best(self, factor: int = 1) -> Picked:
        """The most helpful, and if it is wanted some times as many."""
        order = torch.argsort(self.worth, stable=True)[: factor * self.count]
        return order[torch.isfinite(self.worth[order])]

    def at(self, some: Picked) -> tuple[Tensor, ...]:
        """f, residuals, curvatures and quality (what they are worth, at least 0) of some candidates, of two classes."""
        f, _, r, z = (column.to(torch.float64) for column in self.fitted.at(some + self.pool.sources))
        return f, r[:, 0], torch.sigmoid(z[:, 0]) * torch.sigmoid(-z[:, 0]), (-self.worth[some]).clamp(min=0).to(f)

    def directions(self, some: Picked) -> Float[Tensor, "some params"]:
        """Where candidates lead, of length 1 in the metric of the curvature."""
        f, r, *_ = self.at(some)
        factor = torch.linalg.cholesky(self.fitted.curvature.hessian)
        return torch.nn.functional.normalize(torch.linalg.solve_triangular(factor, (r[:, None] * f).T, upper=False).T)


def most_helpful(step: Step) -> Picked:
    """What `choose_copies` does."""
    return step.best()


def one_a_point(step: Step) -> Picked:
    """The most helpful copy of each of the points whose copies help most, and then others."""
    order = step.best(len(step.pool))
    first = np.zeros(len(order), dtype=np.bool_)
    first[np.unique(step.pool.point[order.numpy()], return_index=True)[1]] = True
    return order[np.argsort(~first, kind="stable")][: step.count]


def corrected(step: Step) -> Picked:
    """By influence with the leverage correction: one Newton step with the copy in the fit."""
    f, _, curved, _ = step.at(torch.arange(len(step.pool)))
    leverage = step.weight * curved * (f * step.fitted.curvature.solve(f)).sum(1)
    return torch.argsort(step.worth / (1 + leverage), stable=True)[: step.count]


def second_order(step: Step) -> Picked:
    """One after the other, each in view of those before it by the second-order influence of groups (Basu et al. 2020).

    With copies S in the fit, V moves by -H^-1 g_S and s by -H^-1 H_S s, both to first order.
    """
    near = step.best(NEAR)
    f, r, curved, _ = step.at(near)
    solved, moved, along = step.fitted.curvature.solve(f), torch.zeros_like(r), f @ step.fitted.direction()[0]
    worth, picked = -r * along, list[int]()
    for _ in range(min(step.count, len(near))):
        worth[picked] = torch.inf
        best = int(worth.argmin())
        picked.append(best)
        change = step.weight * (f @ solved[best])
        moved, along = moved - r[best] * change, along - curved[best] * along[best] * change
        worth = -(r + curved * moved) * along
    return near[picked]


def determinantal(step: Step) -> Picked:
    """The greedy maximum of the determinant of quality x similarity of directions x quality (Chen et al. 2018)."""
    near = step.best(NEAR)
    rows = step.directions(near) * step.at(near)[3][:, None]
    left, picked = rows.square().sum(1), list[int]()
    basis, spanned = rows.new_zeros(len(near), min(step.count, len(near))), 1e-12 * float(left.max())
    for i in range(basis.shape[1]):
        left[picked[-1:]] = -torch.inf
        best = int(left.argmax())
        if float(left[best]) <= spanned:  # the rest adds nothing: the most helpful of it
            picked += np.setdiff1d(np.arange(len(near)), picked)[: step.count - len(picked)].tolist()
            break
        picked.append(best)
        basis[:, i] = (rows @ rows[best] - basis[:, :i] @ basis[best, :i]) / left[best].sqrt()
        left -= basis[:, i].square()
    return near[picked]


def facility_location(step: Step) -> Picked:
    """Greedily those that best stand for all candidates near, each of which counts for what it is worth (cosines of directions).

    Lazily: what one more adds never grows, so that only those are looked at again that once added most (Minoux 1978).
    """
    near = step.best(NEAR)
    rows, quality = step.directions(near), step.at(near)[3]
    similar, covered, picked = (rows @ rows.T).clamp_(min=0), torch.zeros_like(quality), list[int]()
    heap = [(-gain, i, 0) for i, gain in enumerate((similar @ quality).tolist())]
    heapq.heapify(heap)
    while len(picked) < min(step.count, len(near)):
        _, best, seen = heapq.heappop(heap)
        if seen == len(picked):
            picked.append(best)
            torch.maximum(covered, similar[best], out=covered)
        else:
            gain = float((similar[best] - covered).clamp_(min=0) @ quality)
            heapq.heappush(heap, (-gain, best, len(picked)))
    return near[picked]


def random(step: Step) -> Picked:
    """Any."""
    free = step.best(len(step.pool))
    return free[np.random.default_rng(step.fitted.size).permutation(len(free))[: step.count]]


class Variant:
    """A way to choose: how fast rounds grow, in how many steps they are taken, and what a step takes."""

    def __init__(
        self, pick: Callable[[Step], Picked] = most_helpful, growth: float = GROWTH, steps: int = STEPS, *, settle: bool = True
    ) -> None:
        self.pick, self.growth, self.steps, self.settle = pick, growth, steps, settle

    def order(self, head: SoftmaxHead, drawn: Drawn, target: object, weight: float) -> CopyOrdering:
        """The first copies by this variant, up to the largest budget, and then the others in any order."""
        points = drawn.train
        state = FittedHead.of(head, points.augmented([])[:2], "auto")
        pool = CopyPool.of(points.copies, state)
        fitted = GrowingFit(state, pool, None if target == "self" else state.read(target, "target"))  # type: ignore[arg-type]
        most = int(np.ceil(len(pool) * max(PERCENTS) / 100))
        chosen: list[Tensor] = []
        while fitted.size < most:
            count = most if np.isinf(self.growth) else min(most - fitted.size, round_size(fitted.size, len(pool), self.growth))
            for number in shares(count, round_steps(fitted.size, len(pool), self.steps)):
                each = shared_weight(len(pool), fitted.size + number, weight)
                picked = self.pick(Step(fitted, pool, fitted.worth(), number, each))
                chosen.append(picked)
                fitted.join(picked, each)
            if self.settle:
                fitted.settle()
        first = torch.cat(chosen).numpy()
        candidates = np.concatenate([first, np.setdiff1d(np.arange(len(pool)), first)])
        none = np.empty(0)
        nothing = np.full(len(candidates), np.nan)
        return CopyOrdering(
            candidates, pool.point[candidates], pool.copy[candidates], nothing, none.astype(np.int64), none, none, weight=weight
        )


VARIANTS: Mapping[str, Variant] = {
    "as it is": Variant(),
    "finer rounds": Variant(growth=0.2, steps=8),
    "coarser rounds": Variant(growth=2.0),
    "one step a round": Variant(steps=1),
    "no refits": Variant(settle=False),
    "ranked once": Variant(growth=np.inf, steps=1),
    "second-order groups": Variant(second_order, steps=1),
    "determinantal": Variant(determinantal),
    "facility location": Variant(facility_location),
    "leverage correction": Variant(corrected),
    "one copy a point": Variant(one_a_point),
    "random copies": Variant(random, steps=1),
}


def measure(drawn: Drawn, weights: Mapping[str, float]) -> pd.DataFrame:
    """A row a target, variant and budget: accuracy and loss on the augmented test set, and what choosing took."""
    points, head = drawn.train, drawn.head("train")
    cold = partial(fit, SoftmaxHead(), points.augmented(np.arange(len(points))))
    rows = []
    for target, weight in weights.items():
        aim: object = "self" if target == "self" else drawn.target("train")
        for name, variant in VARIANTS.items():
            ordering, seconds = timed(partial(variant.order, head, drawn, aim, weight))
            _, refit = timed(cold)
            for percent in PERCENTS:
                size = round(percent / 100 * len(ordering))
                found = read(fit(SoftmaxHead(), training_set(points, ordering, size)), drawn.test)
                key = {"target": target, "variant": name, "percent": percent, "weight": weight}
                rows.append(key | found._asdict() | {"seconds": seconds, "refit_seconds": refit})
    return pd.DataFrame(rows).assign(task=drawn.task.group, seed=drawn.seed)


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """What some work gives, and the processor time it takes."""
    start = time.process_time()
    found = work()
    return found, time.process_time() - start


def table(found: pd.DataFrame, baselines: pd.DataFrame) -> str:
    """A row a target and variant, over the tasks and seeds in which full augmentation gains a point or more."""
    known = baselines.assign(gain=baselines["full"] - baselines["none"])[["task_group", "seed", "none", "gain"]]
    rows = found.merge(known, left_on=["task", "seed"], right_on=["task_group", "seed"])
    rows = rows[rows["gain"] >= WORTHWHILE]
    rows = rows.assign(share=100 * (rows["accuracy"] - rows["none"]) / rows["gain"], cost=rows["seconds"] / rows["refit_seconds"])
    lines = [
        "# Which parts of the greedy choice of copies pay",
        "",
        f"Paper 2's tasks with the preset `code` in which full augmentation gains a point or more, seeds 0 to {SEEDS - 1}. Shares of",
        "its gain in per cent, means; the mean difference of the shares to the choice as it is, paired by task, seed and budget, ± its",
        "standard error over pairs of task and seed; mean test loss in nats; and what choosing a quarter of the copies took, in refits on",
        "all of them, the median. Weights as `auto` says.",
        "",
    ]
    for target, some in rows.groupby("target", sort=False):
        lines += [f"## Target: {target}", "", "| variant | n | 1 % | 5 % | 10 % | 25 % | to the choice as it is | loss | refits |"]
        lines.append("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
        pairs = some.pivot_table(index=["task", "seed"], columns="variant", values="share")
        for name in VARIANTS:
            own = some[some["variant"] == name]
            shown = [f"{share:.0f}".replace("-", "−") for share in own.groupby("percent")["share"].mean()]
            apart = pairs[name] - pairs["as it is"]
            error = apart.std(ddof=1) / np.sqrt(len(apart))
            difference = "" if name == "as it is" else f"{apart.mean():+.1f} ± {error:.1f}".replace("-", "−")
            lines.append(
                f"| {name} | {len(apart)} | {' | '.join(shown)} | {difference} | {own['loss'].mean():.4f} | {own['cost'].median():.1f} |"
            )
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    """Measure what is missing, and write the table."""
    torch.set_num_threads(1)
    sweep, store = Sweep(FOLDER), Cells(FOLDER / "ablation", "copies-ablation")
    tasks = [paper_task(name, C="1", data_dir=os.environ["AUGURY_DATA"]) for name in NAMES]
    baselines = pd.concat([sweep.table("baselines").read_group(task.group).assign(task_group=task.group) for task in tasks])
    for task in tasks:
        for seed in range(SEEDS):
            if str(seed) in store.names(task.group):
                continue
            row = baselines[(baselines["task_group"] == task.group) & (baselines["seed"] == seed)].iloc[0]
            weights = {target: float(row[f"weight_{target}"]) for target in ("validation", "self")}
            store.write(task.group, str(seed), measure(Drawn(task, seed, NETWORKS, FOLDER / "work"), weights))
            print(task.group, seed, flush=True)
        store.pack(task.group)
    write_text(FOLDER / "ablation.md", table(store.read(), baselines))


if __name__ == "__main__":
    main()
