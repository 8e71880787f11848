"""What every measure accepts, and how arrays are read: one part at a time, each in float64, on all cores."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nondet.errors import BadInput
from nondet.io.cores import available_cores
from nondet.stats.values import TILE, Floats, Integers, as_array, check_runs

Cell = tuple[slice, slice]
Item = TypeVar("Item")
Result = TypeVar("Result")

UNTHREADED = 2**18  # up to so many multiplications OpenBLAS uses one thread, so no result depends on the threads
DENSE = 2**16  # predictions of up to so many classes are counted as they are; others are renumbered first
FEW = 2**17  # so many numbers are processed in less time than threads take to start
LARGEST = 1e100  # sums and squares of logits up to this size stay far inside the range of float64


def checked(outputs: ArrayLike, labels: ArrayLike) -> tuple[NDArray[Any], Integers]:
    """Check that outputs `(N, n, c)` and labels `(n,)` can be measured, and return them as arrays.

    Outputs are not copied, so a memory-mapped file stays on disk; labels come back as int64. The rules for
    outputs are those of `checked_outputs`. Labels are integers from 0 to c - 1, one for each example.
    """
    logits = checked_outputs(outputs)
    examples, classes = logits.shape[1:]
    return logits, checked_numbers(labels, examples, classes)


def checked_numbers(labels: ArrayLike, examples: int, classes: int) -> Integers:
    """Return labels `(n,)` as int64; BadInput unless they are integers from 0 to c - 1, one for each example."""
    truth = checked_labels(labels, examples)
    wrong = (truth < 0) | (truth >= classes)
    if wrong.any():
        example = int(wrong.argmax())
        value = as_array(labels, "labels")[example]
        raise BadInput(
            f"labels must be from 0 to {classes - 1} (got {value} at example {example}, "
            "counting from 0); number the classes from 0, in the order of the logits"
        )
    return truth


def checked_outputs(outputs: ArrayLike) -> NDArray[Any]:
    """Check that outputs `(N, n, c)` can be measured, and return them as an array, without a copy.

    There must be at least two runs, one example and two classes. The numbers must be float16, float32, float64 or
    integers, and none may be NaN, infinite or above 1e100 in size.
    """
    logits = as_array(outputs, "outputs")
    check_form(logits.shape, logits.dtype)
    if logits.dtype.kind == "f":
        deque(in_threads(lambda run: check_finite(logits[run], run), range(len(logits)), numbers=logits.size), maxlen=0)
    return logits


def check_form(shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Refuse outputs of another shape or type: see `checked_outputs`."""
    if len(shape) != 3:
        raise BadInput(
            f"outputs must have three axes, runs, examples and classes (got shape {shape}); "
            "stack one (examples, classes) array for each run, or give predicted classes as integers"
        )
    if dtype.kind not in "fiu" or dtype.itemsize > 8:
        raise BadInput(f"outputs must be float16, float32, float64 or integers (got {dtype}); convert them to float64")
    runs, examples, classes = shape
    check_runs(runs, "outputs")
    if examples < 1:
        raise BadInput("examples must be at least 1 (got 0); give the outputs of a test set that is not empty")
    if classes < 2:
        raise BadInput(
            f"classes must be at least 2 (got {classes}); give one logit for each class, two if it is binary"
        )


def checked_predictions(predicted: ArrayLike) -> NDArray[Any]:
    """Return predictions `(N, n)`, any integers such as classes or token numbers, as an array, without a copy.

    BadInput unless there are two axes of integers, at least two runs and an example.
    """
    array = as_array(predicted, "predictions")
    if array.ndim != 2 or array.dtype.kind not in "iu" or array.shape[1] < 1:
        raise BadInput(
            "predictions must be integers with two axes, runs and examples "
            f"(got {array.dtype} of shape {array.shape}); give one row of classes for each run"
        )
    check_runs(len(array), "predictions")
    return array


def checked_labels(labels: ArrayLike, examples: int) -> Integers:
    """Return labels `(n,)` as int64; BadInput unless they are integers, one for each example."""
    array = as_array(labels, "labels")
    if array.ndim != 1:
        raise BadInput(f"labels must have one axis, examples (got shape {array.shape}); give one class number each")
    if array.dtype.kind not in "iu":
        raise BadInput(f"labels must be integers (got {array.dtype}); convert class numbers with labels.astype(int)")
    if len(array) != examples:
        raise BadInput(
            f"there must be as many labels as examples (got {len(array)} labels for {examples} examples); "
            "give the labels of the same test set, in its order"
        )
    return array.astype(np.int64)


def checked_classes(predicted: ArrayLike, labels: ArrayLike) -> tuple[NDArray[Any], Integers]:
    """Check that predicted classes `(N, n)` and labels `(n,)` are at least 0, and return them as arrays.

    The number of classes is not known, so a label may be one that no run predicts. A number below 0 is not a class: it
    marks an example that does not count, or that a run did not answer, and would be counted as wrong.
    """
    classes = checked_predictions(predicted)
    truth = checked_labels(labels, classes.shape[1])
    for numbers, what in ((classes, "predicted classes"), (truth, "labels")):
        if numbers.min() < 0:
            raise BadInput(f"{what} must be 0 or more (got {numbers.min()}); leave out examples without a class")
    return classes, truth


def cells(outputs: NDArray[Any]) -> list[Cell]:
    """Slices of the runs and of the examples that together cover all once, run by run.

    Each has whole runs, or a part of one, so that what is together in a file is read together.
    """
    runs, examples, classes = outputs.shape
    together, step = max(1, TILE // (examples * classes)), max(1, TILE // classes)
    return [
        (slice(run, min(run + together, runs)), slice(start, min(start + step, examples)))
        for run in range(0, runs, together)
        for start in range(0, examples, step)
    ]


def in_threads(
    work: Callable[[Item], Result], items: Sequence[Item], threads: int | None = None, numbers: int = FEW
) -> Iterator[Result]:
    """Yield `work(item)` in the order of the items, using so many threads, or all cores that this process may use.

    The results do not depend on the number of threads. At most two for each thread are waiting at any time.
    numbers: how many numbers are processed in all; for a few of them no thread is started.
    """
    threads = threads or (1 if numbers < FEW else min(available_cores(), len(items)))
    if threads < 2:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Result]] = deque()
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def look_like_probabilities(outputs: ArrayLike) -> bool:
    """Whether outputs `(N, n, c)` are all from 0 to 1 and sum to 1 in every example, unlike logits."""
    logits = as_array(outputs, "outputs")
    return all(
        run.min() >= 0 and run.max() <= 1 and bool((np.abs(run.sum(axis=-1, dtype=np.float64) - 1) < 1e-2).all())
        for run in logits
    )


def tiles(outputs: NDArray[Any]) -> Iterator[tuple[slice, Floats]]:
    """Yield every example once: a slice of the examples, and their outputs `(N, t, c)` as a float64 copy."""
    runs, examples, classes = outputs.shape
    step = max(1, TILE // (runs * classes))
    for start in range(0, examples, step):
        part = slice(start, min(start + step, examples))
        yield part, outputs[:, part].astype(np.float64, order="C")


def vote_parts(*arms: NDArray[Any]) -> tuple[list[slice], Callable[[slice], list[tuple[Integers, Integers]]]]:
    """Parts of the examples, and a function that counts the votes in one, for predictions `(N, t)` of each arm.

    For each arm it returns the place of each prediction, `(N, t)`, and how many of the arm's runs are at each place,
    `(t * c,)`: c places for the first example, c for the next, the same for all arms.
    """
    low, high = min(int(arm.min()) for arm in arms), max(int(arm.max()) for arm in arms)
    lowest, classes = np.array(low).astype(np.int64), high - low + 1
    if classes > DENSE:
        names, together = np.unique(np.concatenate(arms), return_inverse=True)
        lowest, classes = 0, len(names)
        arms = tuple(np.split(together, np.cumsum([len(arm) for arm in arms])[:-1]))
    step = max(1, TILE // max(classes, *(len(arm) for arm in arms)))

    def votes(part: slice) -> list[tuple[Integers, Integers]]:
        found: list[tuple[Integers, Integers]] = []
        for arm in arms:
            places = arm[:, part].astype(np.int64) - lowest  # right even if integers wrap around
            examples = places.shape[1]
            places += np.arange(examples) * classes
            found.append((places, np.bincount(places.ravel(), minlength=examples * classes)))
        return found

    return [slice(start, start + step) for start in range(0, arms[0].shape[1], step)], votes


def check_finite(logits: NDArray[Any], run: int) -> None:
    """Refuse a run with a number that is not finite, or too large."""
    if np.isfinite(logits).all() and (logits.dtype.itemsize < 8 or np.abs(logits).max() <= LARGEST):
        return
    wrong = ~(np.abs(logits.astype(np.float64)) <= LARGEST)  # (n, c)
    example = int(wrong.any(axis=1).argmax())
    value = logits[example, int(wrong[example].argmax())]
    raise BadInput(
        f"outputs must be finite and at most {LARGEST:g} in size "
        f"(got {value} in run {run}, example {example}, counting from 0); <<failed=count>> counts "
        "such runs as failed, and <<failed=drop>> leaves them out"
    )
