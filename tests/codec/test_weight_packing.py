import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.nn.weight_packing import packed, widened


@given(seed=st.integers(0, 2**32), size=st.sampled_from([1e-30, 1e-6, 1.0, 1e6]))
@settings(max_examples=50, deadline=None)
def test_each_row_is_kept_to_a_part_of_its_largest_weight_and_then_stays(seed, size) -> None:
    random = torch.Generator().manual_seed(seed)
    rows = torch.randn(5, 3, 7, generator=random) * torch.logspace(-3, 0, 5)[:, None, None] * size
    tensors = packed({"a.weight": rows})
    assert tensors["weights.a.weight"].dtype == torch.int8
    back = widened(tensors)["a.weight"]
    largest = rows.abs().amax(dim=(1, 2), keepdim=True)
    assert ((back - rows).abs() <= largest / 127 * 0.76).all()
    assert torch.equal(widened(packed({"a.weight": back}))["a.weight"], back)


def test_matrices_of_networks_alone_are_in_8_bits() -> None:
    weights = {
        name: torch.rand(shape)
        for name, shape in {
            "decoder.a.weight": (4, 3),
            "decoder.a.bias": (4,),
            "encoder.gain.knots": (8, 3),
            "quantizer.vectors": (2, 4, 3),
            "prior.a.weight": (4, 3),
        }.items()
    }
    kinds = {key: value.dtype for key, value in packed(weights).items()}
    assert kinds.pop("weights.decoder.a.weight") == torch.int8
    assert kinds.pop("scales.decoder.a.weight") == torch.bfloat16
    assert set(kinds.values()) == {torch.float16}
    assert list(widened(packed(weights))) == list(weights)


def test_a_row_of_zeros_stays_one() -> None:
    rows = torch.tensor([[0.0, 0.0], [1.0, -0.5]])
    assert torch.equal(widened(packed({"a.weight": rows}))["a.weight"][0], rows[0])


@pytest.mark.parametrize(
    ("name", "value"), [("a.bias", 1e6), ("a.weight", float("inf")), ("a.weight", float("nan"))]
)
def test_what_cannot_be_kept_is_named(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name}: a weight is too large"):
        packed({name: torch.full((2, 2), value)})
