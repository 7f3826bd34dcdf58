"""What the network is pulled towards: selection and temporal-difference targets."""

import numpy as np
import pytest
import torch as th
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from sb3_course.functional import select, td_target

values = arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=8), elements=st.floats(-100, 100, width=32))


@given(q_target=values)
def test_selecting_by_the_array_itself_is_the_maximum_of_dqn(q_target):
    np.testing.assert_array_equal(select(q_target, q_target), q_target.max(axis=1))
    tensor = th.tensor(q_target)
    assert th.equal(select(tensor, tensor), tensor.max(dim=1).values)


@given(q_target=values, data=st.data())
def test_selecting_by_the_online_array_is_double_dqn(q_target, data):
    q_online = data.draw(arrays(np.float32, q_target.shape, elements=st.floats(-100, 100, width=32)))
    expected = [q_target[row, int(np.argmax(q_online[row]))] for row in range(len(q_target))]
    np.testing.assert_array_equal(select(q_target, q_online), expected)
    np.testing.assert_array_equal(select(th.tensor(q_target), th.tensor(q_online)).numpy(), expected)
    assert (select(q_target, q_online) <= select(q_target, q_target)).all()


def test_select_picks_whole_rows_of_atoms():
    outputs = np.arange(24.0).reshape(2, 3, 4)  # (B, A, N)
    chosen = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 5.0]])
    np.testing.assert_array_equal(select(outputs, chosen), [[4, 5, 6, 7], [20, 21, 22, 23]])
    np.testing.assert_array_equal(select(th.tensor(outputs), th.tensor(chosen)).numpy(), select(outputs, chosen))


def test_a_tie_goes_to_the_first_action_in_both_libraries():
    outputs, ties = np.array([[1.0, 2.0, 3.0]]), np.array([[0.0, 7.0, 7.0]])
    assert select(outputs, ties) == 2.0
    assert select(th.tensor(outputs), th.tensor(ties)) == 2.0


@pytest.mark.parametrize("make", [np.asarray, th.as_tensor])
def test_td_target_is_reward_plus_discounted_value(make):
    rewards, discounts, following = [1.0, -1.0, 0.5], [0.9, 0.0, 0.81], [10.0, 100.0, -2.0]
    target = td_target(make(rewards), make(discounts), make(following))
    np.testing.assert_allclose(np.asarray(target), [10.0, -1.0, -1.12])


@given(
    rewards=arrays(np.float32, 16, elements=st.floats(-10, 10, width=32)),
    following=arrays(np.float32, 16, elements=st.floats(-100, 100, width=32)),
    dones=arrays(np.float32, 16, elements=st.sampled_from([0.0, 1.0])),
    gamma=st.floats(0, 1),
)
def test_td_target_has_the_order_of_sb3s_own_formula(rewards, following, dones, gamma):
    """SB3 writes r + (1 − d)·γ·q; the discount is the product (1 − d)·γ, made before."""
    r, q, d = map(th.tensor, (rewards, following, dones))
    discounts = (1 - d) * np.float32(gamma)
    assert th.equal(td_target(r, discounts, q), r + (1 - d) * gamma * q)
