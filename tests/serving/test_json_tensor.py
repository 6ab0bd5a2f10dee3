"""JSON values that were read in bulk, as named arrays."""

from __future__ import annotations

import numpy as np
import pytest

from serving.json_tensor import NeedsExactValues, tensor_from


@pytest.mark.timeout(20)
def test_a_block_of_integers_is_checked_at_once() -> None:
    """Whether a block fits int32 is a comparison, not a search through all numbers of that type."""
    windows = np.array([[0, 2**31 - 1], [-(2**31), 7]], np.int64)
    assert tensor_from(windows, "crop_windows", "int32").dtype == np.int32
    with pytest.raises(NeedsExactValues):
        tensor_from(windows * 2, "crop_windows", "int32")


@pytest.mark.parametrize(("dtype", "stored"), [("half", np.float16), ("complex64", np.complex64)])
def test_no_number_can_be_written_of_any_type(dtype: str, stored: type[np.generic]) -> None:
    """An empty list is a tensor even of the types whose numbers JSON does not have."""
    tensor = tensor_from([[], []], "x", dtype)
    assert (tensor.shape, tensor.dtype) == ((2, 0), stored)
