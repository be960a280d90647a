"""The schedule is made of complete, random blocks."""

from harness.run.schedule import blocks, generator


def test_every_round_runs_every_arm_once():
    seen = list(blocks(["a", "b", "c"], 50, generator(1, "x")))
    for number in range(50):
        rows = [row for row in seen if row[0] == number]
        assert sorted(arm for _, _, arm in rows) == ["a", "b", "c"]
        assert [position for _, position, _ in rows] == [0, 1, 2]


def test_order_is_random_and_every_arm_comes_first_sometimes():
    first = [arm for _, position, arm in blocks(["a", "b", "c"], 90, generator(1, "x")) if position == 0]
    assert all(15 <= first.count(arm) <= 45 for arm in "abc")


def test_the_same_seed_and_names_give_the_same_order_and_others_another():
    def order(*names):
        return [arm for _, _, arm in blocks(list("abcdef"), 5, generator(*names))]

    assert order(1, "x") == order(1, "x")
    assert order(1, "x") != order(2, "x")
    assert order(1, "x") != order(1, "y")
