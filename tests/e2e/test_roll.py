"""Three nodes take an update in turn, under real systemd and logind."""

NAMES = ("n1", "n2", "n3")


def test_each_reboots_once_and_one_at_a_time(fleet):
    rolling = fleet(NAMES)
    rolling.boot()
    first = {node.name: node.boot_id() for node in rolling.nodes}
    assert len(set(first.values())) == len(NAMES)
    for node in rolling.nodes:
        node.stage_update()
    rolling.wait(lambda: all(node.boots == 2 and node.state() == "steady" for node in rolling.nodes), "all rebooted")
    assert {node.name: node.container.exits for node in rolling.nodes} == {name: ["reboot"] for name in NAMES}
    assert not {node.boot_id() for node in rolling.nodes} & set(first.values())
    assert {node.name: node.status()["reboots"] for node in rolling.nodes} == {name: {"healthy": 1} for name in NAMES}
    downs, history = rolling.downs(), rolling.history()
    assert (downs.problems, downs.most, downs.pairs) == ([], 1, dict.fromkeys(NAMES, 1))
    assert (history.problems, history.most) == ([], {"group/e2e": 1})
    assert {name: len(attempts) for name, attempts in history.armed.items()} == {node.id(): 1 for node in rolling.nodes}
    assert rolling.holders() == {}
    assert all("reboot: logind" in node.log(1000) for node in rolling.nodes)
