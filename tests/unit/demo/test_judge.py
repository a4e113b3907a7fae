"""The hosts' own count."""

from locksmith.demo.judge import Judge


def test_the_judge_remembers_the_most_at_once_and_who_they_were():
    judge = Judge(2)
    judge.out("a")
    judge.out("b")
    judge.back("a")
    judge.out("c")
    assert (judge.now, judge.most, judge.broken) == (2, 2, False)
    judge.out("d")
    judge.back("b")
    judge.back("c")
    judge.back("d")
    assert (judge.now, judge.most, judge.broken) == (0, 3, True)
    assert judge.worst == ("b", "c", "d")


def test_a_host_counts_once():
    judge = Judge(1)
    judge.out("a")
    judge.out("a")
    assert judge.most == 1
    judge.back("a")
    judge.back("a")
    assert judge.now == 0
