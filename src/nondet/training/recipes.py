"""What a recipe asks for besides an optimizer: its loss, the rate at every step, gradient clipping."""

from __future__ import annotations

import copy
import functools
import hashlib
import inspect
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nondet.errors import BadInput
from nondet.kinds import Kind
from nondet.kinds.classification import IGNORED
from nondet.tasks.named import LOSSES, optimizer_class, optimizer_options, scheduler_class
from nondet.tasks.recipe import Recipe
from nondet.training.problem import first_line

BY_STEP = ("OneCycleLR", "CyclicLR")
"""The torch schedulers that, by their documentation, step after every mini-batch; others step after every epoch."""

_FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    ours: getattr(F, theirs) for theirs, ours in LOSSES.items() if hasattr(F, theirs)
}


def criterion_of(
    recipe: Recipe, kind: Kind, ignore: int | None = None, unknown: bool = False
) -> Callable[[Tensor, Tensor], Tensor] | None:
    """Return a function for a mini-batch's mean loss, as a recipe names, smooths or weights it.

    ignore: the task's own label to ignore, which a function of the user's gets in the place of -100. unknown: whether
    some labels are to be ignored.

    None if the kind's own loss is used. BadInput if the kind does not accept the loss.
    """
    loss: Any = recipe.loss
    changes: dict[str, Any] = {"label_smoothing": recipe.label_smoothing} if recipe.label_smoothing else {}
    if recipe.class_weights:
        changes["weight"] = torch.tensor(recipe.class_weights, dtype=torch.float64)
    if not loss and not changes:
        return None
    name = loss if isinstance(loss, str) else ""
    if changes and loss not in ("", "cross_entropy", nn.functional.cross_entropy):
        raise BadInput(
            f"label_smoothing and class_weights are for the cross-entropy (got loss {_called(loss)}); leave them out, "
            "or give a loss that has them, such as torch.nn.CrossEntropyLoss(label_smoothing=0.1)"
        )
    if (changes or name) and (name or "cross_entropy") not in kind.losses:
        ours = f"it accepts {', '.join(kind.losses)}" if kind.losses else "it accepts none by name"
        raise BadInput(
            f"kind {kind.name} does not accept the loss {name or 'cross_entropy'} (got "
            f"{_called(loss) or 'its changes'}; {ours}); choose another, or give a function of outputs and labels"
        )
    function: Any = loss if callable(loss) else _FUNCTIONS[name or "cross_entropy"]
    written = _label_ignored_by(loss, ignore)
    if unknown and LOSSES.get(_called(loss), name) == "bce":
        changes = {name: getattr(loss, name, None) for name in ("weight", "pos_weight")}
        function, written = _of_known, IGNORED
    elif isinstance(loss, nn.Module):
        function = _of_module(loss)

    def criterion(outputs: Tensor, labels: Tensor) -> Tensor:
        outputs, labels = kind.paired(outputs, labels)
        labels = labels if written == IGNORED else torch.where(labels == IGNORED, written, labels)
        fitted = {k: v.to(outputs) if isinstance(v, Tensor) else v for k, v in changes.items()}
        found = function(outputs, labels, **fitted)
        if not isinstance(found, Tensor) or found.dim():
            shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise BadInput(
                f"a loss must be one number (got {shape} from {_called(loss)}); return its mean over the mini-batch"
            )
        return found

    return criterion


def own_ignored(loss: Any) -> int | None:
    """Return the label that a loss ignores by its own argument, as CrossEntropyLoss(ignore_index=255); None if none."""
    held: Any = loss.keywords.get("ignore_index") if isinstance(loss, functools.partial) else None
    held = getattr(loss, "ignore_index", None) if isinstance(loss, nn.Module) else held
    return held if type(held) is int else None


def _label_ignored_by(loss: Any, ignore: int | None) -> int:
    """Return the label that a loss expects where a label is to be ignored.

    A function of the user's was written for the labels as they were given; torch's own ignore -100.
    """
    own = own_ignored(loss)
    if own is not None:
        return own
    module = type(loss).__module__ if isinstance(loss, nn.Module) else getattr(loss, "__module__", None) or ""
    return IGNORED if ignore is None or isinstance(loss, str) or module.startswith("torch.") else ignore


def _of_known(outputs: Tensor, labels: Tensor, **weights: Any) -> Tensor:
    """Return the binary cross-entropy as the mean over the known labels."""
    known = labels != IGNORED
    each = F.binary_cross_entropy_with_logits(outputs, labels.clamp(min=0), reduction="none", **weights)
    return (each * known).sum() / known.sum()


def _of_module(module: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    """Return a loss of `torch.nn` as a function that moves its weights to the outputs' type and device."""
    learnt = next((name for name, p in module.named_parameters() if p.requires_grad), "")
    if learnt:
        raise BadInput(
            f"a recipe's loss has no parameters of its own, because only the model's are trained (got "
            f"{_called(module)} with {learnt}); make it a part of the model, and give "
            "Task(loss=lambda model, batch: (loss, outputs)), or fix it with requires_grad_(False)"
        )
    fitted: dict[tuple[torch.dtype, torch.device], nn.Module] = {}

    def moved(outputs: Tensor, labels: Tensor) -> Tensor:
        place = (outputs.dtype, outputs.device)
        if place not in fitted:
            fitted[place] = copy.deepcopy(module).to(outputs.device, outputs.dtype)
        return fitted[place](outputs, labels)

    return moved


def _called(loss: Any) -> str:
    return loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)


def expects(loss: Any) -> tuple[str, ...]:
    """Return the kinds that usually have this loss (a name, or a loss of `torch.nn`); empty if that is not known."""
    name = loss if isinstance(loss, str) else LOSSES.get(_called(loss), "")
    if name in ("mse", "l1", "smooth_l1", "huber"):
        return ("regression",)
    return {"bce": ("binary", "multilabel"), "cross_entropy": ("classification", "segmentation", "tokens")}.get(
        name, ()
    )


def clip(gradients: Sequence[Tensor], limit: float, runs: bool) -> None:
    """Scale each run's gradients in place so that the norm of all of them together is at most `limit`.

    This is `torch.nn.utils.clip_grad_norm_` for each run by itself. runs: whether the first axis is the runs.
    """
    stacked = [g if runs else g[None] for g in gradients]
    norms = torch.stack([torch.linalg.vector_norm(g.flatten(1), dim=1) for g in stacked])  # (p, R)
    factors = (limit / (torch.linalg.vector_norm(norms, dim=0) + 1e-6)).clamp(max=1.0)  # (R,)
    for g in stacked:
        g.mul_(factors.to(g.dtype).view(-1, *(1 for _ in g.shape[1:])))


def lr_factor(recipe: Recipe, epoch: float) -> float:
    """Return the factor of the recipe's learning rate at a fractional epoch (step / steps per epoch).

    A linear warm-up from 0 comes first, then the schedule. The cosine counts from epoch 0, so that the rate just after
    the warm-up is slightly below its maximum (Summers & Dinneen 2021, public code). In an accelerated ensemble each
    cycle is a schedule of this kind.
    """
    epochs = recipe.epochs // recipe.cycles
    if recipe.cycles > 1:
        epoch %= epochs
    if epoch < recipe.warmup:
        return epoch / recipe.warmup
    if callable(recipe.schedule) and not isinstance(recipe.schedule, type):
        return float(recipe.schedule(epoch, epochs))
    if recipe.schedule == "constant" or scheduler_class(recipe.schedule) is not None:
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * epoch / epochs))


def schedule_hash(recipe: Recipe) -> str:
    """Identify a user's own schedule by what it does, not by its name: the SHA-256 of its factors at 1,000 times."""
    factors = [lr_factor(recipe, float(epoch)) for epoch in np.linspace(0, recipe.epochs, 1000, endpoint=False)]
    return hashlib.sha256(np.array(factors, dtype="<f8").tobytes()).hexdigest()


def settings_of(recipe: Recipe, steps: int) -> tuple[Mapping[str, Any], ...]:
    """Return what a torch scheduler sets at each step of a training, with `steps` in an epoch; empty without one.

    Each entry has "factor", relative to the highest rate, and other settings of the optimizer that a scheduler can
    change, such as the momentum in OneCycleLR. They are found with an optimizer of one number, since a scheduler
    depends on nothing else.
    """
    chosen: Any = scheduler_class(recipe.schedule)
    if chosen is None or is_plateau(recipe):
        return ()
    by_step = (recipe.schedule_by or ("step" if chosen.__name__ in BY_STEP else "epoch")) == "step"
    total = recipe.epochs * steps
    options = {**recipe.schedule_options}
    takes = inspect.signature(chosen).parameters
    if "total_steps" in takes and not {"total_steps", "epochs"} & options.keys():
        options["total_steps"] = (total if by_step else recipe.epochs) + 1
    usual = {"max_lr": recipe.lr, "T_max": total if by_step else recipe.epochs}
    options = {name: value for name, value in usual.items() if name in takes} | options
    one = torch.zeros(1, 1, requires_grad=True)
    try:
        make: Any = optimizer_class(recipe.optimizer)
        needed = {name: value for name, value in recipe.options.items() if name in optimizer_options(make)}
        optimizer = make([one], lr=recipe.lr, **needed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns that the optimizer has not stepped
            scheduler = chosen(optimizer, **options)
            found: list[Mapping[str, Any]] = []
            for step in range(total):
                group = optimizer.param_groups[0]
                others = {name: group[name] for name in ("momentum", "betas") if name in group}
                found.append({"factor": _factor(group, recipe), **others})
                if by_step or (step + 1) % steps == 0:
                    scheduler.step()
    except Exception as error:
        way = "give its arguments in schedule_options"
        if "schedulers" in takes:  # these need the optimizer, which the recipe does not have yet
            way = f"write a class Mine({chosen.__name__}) whose __init__(self, optimizer) makes them: schedule=Mine"
        raise BadInput(f"the schedule {chosen.__name__} fails: {first_line(error)}; {way}") from error
    return tuple(found)


def _factor(group: Mapping[str, Any], recipe: Recipe) -> float:
    return float(group["lr"]) / recipe.lr if recipe.lr else 0.0


def is_plateau(recipe: Recipe) -> bool:
    """Whether the schedule waits for a run's own loss to stop falling."""
    chosen = scheduler_class(recipe.schedule)
    return chosen is not None and issubclass(chosen, torch.optim.lr_scheduler.ReduceLROnPlateau)


def needs_closure(recipe: Recipe) -> bool:
    """Whether the optimizer's step fails without a function that evaluates the loss again, and works with one."""
    made: Any = optimizer_class(recipe.optimizer)

    def step(closed: bool) -> None:
        p = torch.ones(2, 2, requires_grad=True)

        def loss() -> Tensor:
            with torch.enable_grad():
                p.grad = None
                value = p.square().sum()
                value.backward()
            return value

        optimizer = made([p], lr=recipe.lr, **recipe.options)
        loss()
        optimizer.step(*([loss] if closed else []))

    try:
        step(closed=False)
    except OSError:
        raise
    except Exception:  # make_optimizer reports what it refuses
        with suppress(Exception):
            step(closed=True)
            return True
    return False


def evaluates_before(optimizer: torch.optim.Optimizer) -> bool:
    """Whether a step also needs gradients beforehand: it does if its closure may be left out (SAM)."""
    taken = inspect.signature(type(optimizer).step).parameters.get("closure")
    return taken is None or taken.default is not inspect.Parameter.empty


class Plateau:
    """`ReduceLROnPlateau` for one run, on an optimizer of one number: a factor for all rates after each epoch."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=recipe.lr)
        try:
            self.scheduler: Any = scheduler_class(recipe.schedule)(self.optimizer, **recipe.schedule_options)
        except Exception as error:
            raise BadInput(
                f"the schedule ReduceLROnPlateau fails: {first_line(error)}; give its arguments in schedule_options"
            ) from error

    def after(self, stack: Any) -> float:
        """Return the factor after an epoch, from the loss on `val` if there is one, or else on the training set."""
        curve = stack.curves.get("val_loss", stack.curves["loss"])
        self.scheduler.step(float(curve[0, stack.epoch - 1]))
        return _factor(self.optimizer.param_groups[0], self.recipe)
