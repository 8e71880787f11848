"""Two different recipes or tasks never share a key; where nothing collides, keys are what they always were."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from nondet import BadInput, Recipe
from nondet.io.files import sha256_of_json
from nondet.tasks import load_task
from nondet.training.prepare import prepare


class Warm(torch.optim.SGD):
    """An optimizer whose option has the name of a recipe's field."""

    def __init__(self, params: Any, lr: float = 0.1, warmup: float = 0.0, **others: Any) -> None:
        super().__init__(params, lr=lr, **others)


def recipe(**fields: Any) -> Recipe:
    return Recipe(**{"epochs": 2, "batch_size": 16, "lr": 0.1, **fields})


def key(one: Recipe) -> str:
    return sha256_of_json(one.as_dict())


@pytest.mark.parametrize("name", ["warmup", "bit", "cycles", "ema", "swa", "bptt", "epochs", "options"])
def test_an_option_called_as_a_field_is_not_that_field(name: str) -> None:
    """The field and the option of one name give two keys, and so do the field at its default and the option."""
    value: Any = {"bit": "x", "options": {"a": 1}, "ema": 0.5}.get(name, 2)
    with_option = recipe(optimizer=Warm, options={name: value})
    keys = {key(with_option), key(recipe(optimizer=Warm))}
    keys |= {key(recipe(optimizer=Warm, **{name: value}))} if name != "options" else set()
    assert len(keys) == (2 if name in ("epochs", "options") else 3)


def test_set_reaches_the_field_and_by_its_full_name_the_option() -> None:
    """`--set warmup=2` is the field, as ever, and `--set options.warmup=2` the optimizer's option."""
    one = recipe(optimizer=Warm)
    assert one.set({"warmup": "2"}).warmup == 2
    other = one.set({"options.warmup": "2"})
    assert (other.warmup, other.options) == (0, {"warmup": 2})
    with pytest.raises(BadInput, match=r"a recipe has no field 'options\.lr'"):
        one.set({"options.lr": "2"})


def test_keys_without_a_collision_are_what_they_were() -> None:
    """Options stand flat among the fields."""
    flat = recipe(options={"momentum": 0.9, "betas": (0.9, 0.99)}).as_dict()
    assert (flat["momentum"], flat["betas"], "options" in flat) == (0.9, (0.9, 0.99), False)


@pytest.mark.parametrize("values", [(1, 1.0, True), (0.0, -0.0), (0, False, None, "0"), ((1,), (1.0,), 1)])
def test_values_of_another_type_are_other_options(values: tuple[Any, ...]) -> None:
    """Numbers that are equal in Python may still not be alike for an optimizer."""
    assert len({key(recipe(options={"momentum": value})) for value in values}) == len(values)


def test_a_list_is_the_tuple_of_the_same() -> None:
    """Both have one key, so both are one recipe: the optimizer gets the tuple."""
    one, other = (recipe(options={"betas": kind([0.9, 0.99])}) for kind in (list, tuple))
    assert (key(one) == key(other), one.options, type(one.options["betas"])) == (True, other.options, tuple)


def test_options_are_what_they_were_when_the_recipe_was_made() -> None:
    """A dictionary that changes afterwards changes no recipe."""
    options: dict[str, Any] = {"momentum": 0.9, "betas": [1, 2]}
    one = recipe(options=options)
    options["momentum"] = 0.1
    options["betas"].append(3)
    assert one.options == {"momentum": 0.9, "betas": (1, 2)}


def test_names_in_an_option_are_texts() -> None:
    """JSON would make one key of 1 and "1"."""
    with pytest.raises(BadInput, match="the names in an option must be strings"):
        recipe(options={"groups": {1: 2}})


def identity(task: Path) -> dict[str, Any]:
    loaded = load_task(str(task))
    found = dict(prepare(loaded, loaded.recipe, torch.device("cpu")).identity)
    return {name: value for name, value in found.items() if name not in ("code", "name")}


SCHEDULES = [
    "lambda epoch, epochs: VALUE",
    "__import__('functools').partial(lambda epoch, epochs, by: by, by=VALUE)",
    "Constant(VALUE).factor",
    "Constant(VALUE)",
]
CONSTANT = (
    "rng = np",
    """class Constant:
    def __init__(self, value):
        self.value = value

    def __call__(self, epoch, epochs):
        return self.value

    factor = __call__


rng = np""",
)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedules_of_one_name_are_told_apart_by_what_they_do(schedule: str, task_file: Callable[..., Path]) -> None:
    """A lambda, a partial, a bound method and an object that can be called, with other values: other runs."""

    def with_value(value: str) -> dict[str, Any]:
        lr = f"lr=0.1, schedule={schedule.replace('VALUE', value)}"
        return identity(task_file(CONSTANT, ("lr=0.1", lr)))

    assert with_value("0.5") != with_value("0.25")
    assert with_value("0.5") == with_value("0.5")


AUGMENT = (
    "task = nondet.Task(",
    """class Add:
    HEAD

    def __init__(self, value):
        self.value = value

    def draw(self, rng, n):
        return rng.integers(2, size=(n, 1))

    def apply(self, inputs, draws):
        return inputs


task = nondet.Task(
    augment=(Add(VALUE),),""",
)


@pytest.mark.parametrize("head", ["SIDE = 1", "__slots__ = ('value',)", "def __repr__(self): return 'Add()'"])
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1", "2"),
        ("[]", "()"),
        ("torch.full((5,), 0.123456)", "torch.full((5,), 0.1234561)"),
        ("np.arange(5000) * 1", "np.arange(5000) * (np.arange(5000) != 2500)"),
        ("lambda: 1", "lambda: 2"),
        ("{'a': [1, (2, 3)]}", "{'a': [1, (2, 4)]}"),
        ("__import__('functools').partial(max, 1)", "__import__('functools').partial(max, 2)"),
    ],
)
def test_augmentations_are_told_apart_by_what_they_hold(
    head: str, one: str, other: str, task_file: Callable[..., Path]
) -> None:
    """Whatever their text says of it: a tensor's last digits, an array's middle, a function's body."""

    def with_value(value: str) -> list[str]:
        change = (AUGMENT[0], AUGMENT[1].replace("HEAD", head).replace("VALUE", value))
        return identity(task_file(change))["augment"]

    assert with_value(one) != with_value(other)
    assert with_value(one) == with_value(one)


def test_plain_augmentations_have_the_names_that_they_had() -> None:
    """The text of a frozen dataclass says all of it."""
    from nondet import Crop, Flip
    from nondet.training.described import described

    assert [described(a) for a in (Crop(1, (0.5,)), Flip())] == ["Crop(padding=1, fill=(0.5,))", "Flip()"]
