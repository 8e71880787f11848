"""How a convolution becomes a few matrix products, without a copy of its input.

The input of R models is (R, B, H, W, C) in memory. One row of a product is a place (a, q) in an image: from each of
`taps` input rows it has a strip of `pixels` neighbouring input pixels, which are adjacent in memory. It computes a
block of `up` x `across` output pixels. So the weights become a matrix (taps, pixels * C, up * across * O), with zeros
where an output pixel does not use an input pixel of the strip. This makes fewer and larger products than one for each
of a 3 x 3 kernel's nine weights, whose 16 channels would not fill the chip's matrix unit. The gradient of a strided
convolution has the same form, with one block of stride x stride pixels at each place.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Geometry:
    """A convolution over images as products; all counts are for one image of one model.

    height, width, channels: of the tensor that is read; the channels are in `groups`. rows, columns: of places. taps:
    input rows of a place. row_step, row_first: input row = row * row_step + row_first + tap; column_step, column_first:
    likewise, for the first pixel of a strip of `pixels`. up, across: output pixels of a place. out_height, out_width,
    outputs: of the tensor that is written. kernel, stride, padding: (height, width) of the convolution itself. back:
    whether this is the gradient with respect to its input.
    """

    height: int
    width: int
    channels: int
    groups: int
    rows: int
    columns: int
    taps: int
    row_step: int
    row_first: int
    column_step: int
    column_first: int
    pixels: int
    up: int
    across: int
    out_height: int
    out_width: int
    outputs: int
    kernel: tuple[int, int]
    stride: int
    padding: tuple[int, int]
    back: bool

    @property
    def depth(self) -> int:
        """The elements of a strip in one group: the rows of the matrix of weights, for each tap."""
        return self.pixels * (self.channels // self.groups)

    @property
    def breadth(self) -> int:
        """The elements of a place's output in one group: the columns of the matrix of weights."""
        return self.up * self.across * (self.outputs // self.groups)

    @property
    def whole(self) -> bool:
        """Whether the places' blocks cover the output exactly."""
        return self.rows * self.up == self.out_height and self.columns * self.across == self.out_width


def forward(
    size: tuple[int, int],
    channels: int,
    outputs: int,
    kernel: tuple[int, int],
    stride: int,
    padding: tuple[int, int],
    groups: int,
    across: int = 2,
) -> Geometry:
    """Return the geometry of a convolution. across: output pixels of a place, if a row is read by several weights."""
    out_height, out_width = ((n + 2 * p - k) // stride + 1 for n, p, k in zip(size, padding, kernel, strict=True))
    across = 1 if kernel[1] == 1 or stride > 1 else across
    return Geometry(
        height=size[0],
        width=size[1],
        channels=channels,
        groups=groups,
        rows=out_height,
        columns=-(-out_width // across),
        taps=kernel[0],
        row_step=stride,
        row_first=-padding[0],
        column_step=stride * across,
        column_first=-padding[1],
        pixels=kernel[1] + stride * (across - 1),
        up=1,
        across=across,
        out_height=out_height,
        out_width=out_width,
        outputs=outputs,
        kernel=kernel,
        stride=stride,
        padding=padding,
        back=False,
    )


def gradient(of: Geometry) -> Geometry:
    """Return the geometry of a convolution's gradient with respect to its input, which reads its output's gradient."""
    stride, (high, wide), (top, left) = of.stride, of.kernel, of.padding
    across = of.across if stride == 1 else stride
    # Row i of the gradient reads row o, where i = stride * o - padding + k for some k in the kernel: from the last
    # weight for the block's first row to the first weight for its last row.
    first_row, first_column = -((high - 1 - top) // stride), -((wide - 1 - left) // stride)
    last_row, last_column = (stride - 1 + top) // stride, (across - 1 + left) // stride
    return Geometry(
        height=of.out_height,
        width=of.out_width,
        channels=of.outputs,
        groups=of.groups,
        rows=-(-of.height // stride),
        columns=-(-of.width // across),
        taps=last_row - first_row + 1,
        row_step=1,
        row_first=first_row,
        column_step=across // stride,
        column_first=first_column,
        pixels=last_column - first_column + 1,
        up=stride,
        across=across,
        out_height=of.height,
        out_width=of.width,
        outputs=of.channels,
        kernel=of.kernel,
        stride=stride,
        padding=of.padding,
        back=True,
    )
