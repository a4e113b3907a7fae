"""A service that fails after the reboot holds the line; repaired, the line goes on."""

NAMES = ("n1", "n2", "n3")
CONFIG = """
deadline = "3s"
[health.units]
kind = "units"
"""
BROKEN = "/etc/e2e-broken"
SHOP = f"""
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=test ! -e {BROKEN}
[Install]
WantedBy=multi-user.target
"""


def test_a_unit_that_fails_after_the_reboot_holds_the_line_until_it_is_repaired(fleet):
    rolling = fleet(NAMES, CONFIG)
    for node in rolling.nodes:
        node.unit("e2e-shop.service", SHOP)
    rolling.boot()
    sick, *others = rolling.nodes
    sick.container.write(BROKEN, "")
    sick.stage_update()
    rolling.wait_for(sick, "failed")
    assert sick.boots == 2
    assert "e2e-shop.service" in sick.why()
    for node in others:
        node.stage_update()
    rolling.wait(
        lambda: all("halted" in node.why() and node.state() == "queued" for node in others), "the line is held"
    )
    assert list(rolling.holders().values()) == ["failed"]
    assert [node.boots for node in others] == [1, 1]
    assert sick.name in rolling.ctl("status", "--group", "e2e")

    sick.container.remove(BROKEN)
    sick.container.run("systemctl", "restart", "e2e-shop.service")
    rolling.wait(lambda: all(node.state() == "steady" and node.boots == 2 for node in rolling.nodes), "all done")
    assert sick.status()["reboots"] == {"failed": 1, "recovered": 1}
    downs, history = rolling.downs(), rolling.history()
    assert (downs.problems, downs.most, downs.pairs) == ([], 1, dict.fromkeys(NAMES, 1))
    assert (history.problems, history.most) == ([], {"group/e2e": 1})
