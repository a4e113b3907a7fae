from locksmith.rebooters import Accepted, Firing, Idle, NotAccepted, Rebooter
from locksmith.rebooters.simulated import SimulatedRebooter


class Machine:
    def __init__(self):
        self.told = []
        self.answer = Accepted()

    def reboot(self, reason, environment):
        self.told.append((reason, dict(environment)))
        return self.answer

    def pending(self):
        return Firing("going down") if self.told else Idle()


def test_it_tells_the_machine_and_asks_it():
    machine = Machine()
    rebooter: Rebooter = SimulatedRebooter(machine.reboot, machine.pending)
    assert rebooter.kind == "simulated"
    assert rebooter.pending() == Idle()
    assert rebooter.reboot("kernel", {"LOCKSMITH_NODE": "n1"}) == Accepted()
    assert machine.told == [("kernel", {"LOCKSMITH_NODE": "n1"})]
    assert rebooter.pending() == Firing("going down")
    machine.answer = NotAccepted("no power")
    assert rebooter.reboot("kernel", {}) == NotAccepted("no power")


def test_why_it_is_still_up():
    firing = SimulatedRebooter(lambda reason, environment: Accepted(), lambda: Firing("on its way"))
    assert firing.explain() == "on its way"
    idle = SimulatedRebooter(lambda reason, environment: Accepted(), Idle)
    assert idle.explain() == "the simulated machine was told, and nothing came of it"
