import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.coding import context_tables
from codec.nn.priors import ContextPrior, FactorizedPrior, moving_average

CHANNELS, LEVELS, FRAMES = 32, 16, 12


@pytest.fixture(scope="module")
def prior() -> ContextPrior:
    """A prior in which every part has a say, as none has that has not trained."""
    torch.manual_seed(0)
    made = ContextPrior(CHANNELS, LEVELS).eval()
    with torch.no_grad():
        made.out.normal_(std=0.3)
        for by_level in (made.shared_bias, made.group_bias, made.start):
            by_level.knots.normal_()
    return made.requires_grad_(False)


def drawn(seed: int = 0, batch: int = 2) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(np.rint(rng.laplace(0, 2, (batch, CHANNELS, FRAMES)))).float()


def group_of_channels(prior: ContextPrior) -> torch.Tensor:
    """(channels,) which group each channel is coded in."""
    size = CHANNELS // prior.GROUPS
    return prior.order.argsort() // size


def test_every_channel_is_coded_once_and_neighbours_never_together(prior: ContextPrior) -> None:
    assert sorted(prior.order.tolist()) == list(range(CHANNELS))
    group = group_of_channels(prior)
    assert (group[1:] != group[:-1]).all()
    assert group.bincount().tolist() == [CHANNELS // prior.GROUPS] * prior.GROUPS


@pytest.mark.parametrize("frame", [0, 1, 5, FRAMES - 1])
@pytest.mark.parametrize("turn", [0, 3, 7])
def test_a_symbol_changes_nothing_before_it(prior: ContextPrior, frame: int, turn: int) -> None:
    level = torch.tensor([3, 12])
    symbols, group = drawn(), group_of_channels(prior)
    changed = symbols.clone()
    changed[:, group == turn, frame] += 3
    for before, after in zip(prior(symbols, level), prior(changed, level), strict=True):
        moved = (before - after).abs() > 1e-6
        assert not moved[..., :frame].any()
        assert not moved[:, group <= turn, frame].any()
        # All that comes later can see it: first the later groups, then the next frame.
        assert turn == prior.GROUPS - 1 or moved[:, group > turn, frame].any()
        assert frame == FRAMES - 1 or moved[..., frame + 1].any()


def test_the_level_moves_means_and_scales_of_its_own_item_alone(prior: ContextPrior) -> None:
    symbols = drawn()
    first, second = (prior(symbols, torch.tensor(pair)) for pair in ([3, 12], [3, 4]))
    for one, other in zip(first, second, strict=True):
        torch.testing.assert_close(one[0], other[0])
        assert (one[1] - other[1]).abs().max() > 1e-3


@given(
    shift=st.integers(1, 6),
    start=st.floats(0, 8, width=32),
    values=st.lists(st.floats(0, 8, width=32), min_size=1, max_size=60),
)
@settings(max_examples=60, deadline=None)
def test_moving_average_is_the_recursion(shift: int, start: float, values: list[float]) -> None:
    state, expected = start, []
    for value in values:
        expected.append(state)
        state += (value - state) * 2.0**-shift
    found = moving_average(torch.tensor([[values]]), shift, torch.tensor(start))
    assert found.shape == (1, 1, len(values))
    np.testing.assert_allclose(found[0, 0].numpy(), expected, atol=1e-4)


def test_bits_are_those_of_the_masses(prior: ContextPrior) -> None:
    level, symbols = torch.tensor([3, 12]), drawn()
    mean, log_scale = (part.double() for part in prior(symbols, level))
    # p(v) of all integers that can matter, in double precision, from the distribution itself.
    values = torch.arange(-4000, 4001, dtype=torch.float64)
    edges = torch.cat((values - 0.5, values[-1:] + 0.5))
    for item, channel, frame in [(0, 0, 0), (1, 5, 3), (0, 31, 11), (1, 16, 7)]:
        centre, scale = mean[item, channel, frame], log_scale[item, channel, frame].exp()
        masses = torch.sigmoid((edges - centre) / scale).diff()
        assert float(masses.sum()) == pytest.approx(1, abs=1e-6)
        found = prior.bits(symbols, symbols, level)[item, channel, frame]
        mass = masses[int(symbols[item, channel, frame]) + 4000]
        expected = min(30.0, float(-torch.log2(mass)))
        assert float(found) == pytest.approx(expected, rel=1e-2, abs=1e-3)


def test_bits_stay_finite_and_have_gradients_far_outside(prior: ContextPrior) -> None:
    level = torch.tensor([3, 12])
    far = (drawn() + 1e4).requires_grad_()
    bits = prior.bits(far, drawn(), level)
    assert torch.isfinite(bits).all()
    assert bits.max() <= 30
    bits.sum().backward()
    assert far.grad is not None
    assert torch.isfinite(far.grad).all()


def test_the_context_is_worth_bits_once_it_has_learned() -> None:
    """Frames that are loud or quiet in turns: what is loud goes on being loud."""
    rng = np.random.default_rng(0)
    loud = np.repeat(rng.random((8, 1, 10)) < 0.5, 10, axis=2)
    symbols = torch.from_numpy(np.rint(rng.laplace(0, np.where(loud, 6.0, 0.2), (8, 16, 100))))
    symbols = symbols.float()
    level = torch.zeros(8, dtype=torch.long)
    rates = []
    for made in (ContextPrior(16, 1), FactorizedPrior(16, 1)):
        torch.manual_seed(0)
        optimizer = torch.optim.Adam(made.parameters(), lr=0.01)
        for _ in range(120):
            loss = made.bits(symbols, symbols, level).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        rates.append(float(loss.detach()))
    assert rates[0] < 0.85 * rates[1]


def test_channels_that_make_no_groups_are_refused() -> None:
    with pytest.raises(ValueError, match="no whole number of groups"):
        ContextPrior(12, 1)


def test_levels_widen_a_factorized_prior() -> None:
    torch.manual_seed(0)
    prior = FactorizedPrior(4, levels=3)
    with torch.no_grad():
        prior.width.spread(torch.full((4,), 1.0), torch.full((4,), -1.0))
        values = torch.full((3, 4, 1), 60.0)
        bits = prior.bits(values, level=torch.tensor([0, 1, 2])).sum(dim=(1, 2))
    assert bits[0] > bits[1] > bits[2]


def test_the_integer_form_sees_what_the_prior_trained_with() -> None:
    """Rooms that know nothing of each other write these numbers twice."""
    assert (ContextPrior.BAND, ContextPrior.CLIP) == (context_tables.BAND, context_tables.CLIP)
    assert (ContextPrior.FAST, ContextPrior.SLOW) == (context_tables.FAST, context_tables.SLOW)
    ceiling = context_tables.ACTIVATION_MAX / 2**context_tables.ACTIVATION_BITS
    assert ceiling == ContextPrior.CEILING
