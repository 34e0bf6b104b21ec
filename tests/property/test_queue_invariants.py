"""Whatever is marked, taken and ended in whatever order, the queue keeps its word."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from federation.kube.queue import Schedule

KEYS = st.sampled_from("abcd")
STEPS = st.one_of(
    st.tuples(st.just("add"), KEYS, st.integers(0, 20)),
    st.tuples(st.just("take"), st.just(""), st.integers(0, 3)),
    st.tuples(st.just("done"), KEYS, st.just(0)),
)


@given(st.lists(STEPS, max_size=60))
def test_agrees_with_a_model_that_looks_at_every_key(steps: Sequence[tuple[str, str, int]]) -> None:
    schedule: Schedule[str] = Schedule()
    marked: dict[str, int] = {}
    running: set[str] = set()
    now = 0
    for verb, key, number in steps:
        if verb == "add":
            schedule.add(key, now + number)
            marked[key] = min(marked.get(key, now + number), now + number)
        elif verb == "done" and key in running:
            schedule.done(key)
            running.remove(key)
        elif verb == "take":
            now += number
            free = {name: due for name, due in marked.items() if name not in running}
            taken = schedule.take(now)
            assert (taken is not None) == any(due <= now for due in free.values())
            if taken is not None:
                assert free[taken] == min(free.values())
                del marked[taken]
                running.add(taken)
        free = {name: due for name, due in marked.items() if name not in running}
        assert schedule.next_due() == min(free.values(), default=None)
        assert len(schedule) == len(marked)


@given(st.lists(st.tuples(KEYS, st.integers(0, 9)), max_size=40))
def test_everything_marked_is_handed_out_in_the_end(marks: Sequence[tuple[str, int]]) -> None:
    schedule: Schedule[str] = Schedule()
    for key, due in marks:
        schedule.add(key, due)
    taken = []
    while (key_taken := schedule.take(100)) is not None:
        taken.append(key_taken)
        schedule.done(key_taken)
    assert sorted(taken) == sorted({key for key, _ in marks})
