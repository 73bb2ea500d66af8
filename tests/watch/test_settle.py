from hypothesis import given
from hypothesis import strategies as st

from syncd.watch.settle import Sight, due_in, observe, quiet_for, settled


def test_the_first_look_proves_no_quiet():
    sight = observe(None, b"a", 10.0)
    assert not settled(sight, 10.0, 5.0)
    assert due_in(sight, 10.0, 5.0) == 5.0


def test_the_same_signature_for_settle_seconds_is_settled_and_not_a_moment_earlier():
    sight = observe(observe(None, b"a", 10.0), b"a", 14.0)
    assert not settled(sight, 14.9, 5.0)
    assert settled(sight, 15.0, 5.0)
    assert quiet_for(sight, 15.0) == 5.0


def test_a_change_or_a_busy_file_begins_the_quiet_anew():
    sight = observe(None, b"a", 0.0)
    assert observe(sight, b"b", 9.0) == Sight(b"b", 9.0)
    assert observe(sight, b"a", 9.0, busy=True) == Sight(b"a", 9.0)


@given(st.lists(st.tuples(st.sampled_from([b"a", b"b"]), st.floats(0.01, 9), st.booleans()), min_size=1))
def test_what_is_settled_was_seen_alike_and_idle_for_the_whole_time(looks):
    at, sight, settle = 0.0, None, 5.0
    history = []
    for signature, step, busy in looks:
        at += step
        sight = observe(sight, signature, at, busy)
        history.append((at, signature, busy))
        if settled(sight, at, settle):
            since = [h for h in history if h[0] >= at - settle + 1e-6]
            assert all(s == signature for _, s, _ in since)
            assert not any(b for _, _, b in since)
            assert history[0][0] <= at - settle + 1e-6
