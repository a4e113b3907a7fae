import pytest
from hypothesis import given
from hypothesis import strategies as st

from locksmith.core.needs import Need, NeedUnknown, NotNeeded
from locksmith.updates import Provider
from locksmith.updates.k3os import K3os

NOW, NEXT = "v0.20.7-k3s1r0", "v0.21.5-k3s2r1"
KERNEL, NEXT_KERNEL = "5.4.0-73-generic", "5.4.0-88-generic"


def link(root, component, version):
    folder = root / component
    (folder / version).mkdir(parents=True, exist_ok=True)
    (folder / "current").unlink(missing_ok=True)
    (folder / "current").symlink_to(version)


@pytest.fixture
def root(tmp_path):
    system = tmp_path / "system"
    link(system, "k3os", NOW)
    link(system, "kernel", KERNEL)
    link(system, "k3s", "v1.20.7+k3s1")
    return system


@pytest.fixture
def provider(tmp_path, root) -> Provider:
    release = tmp_path / "os-release"
    release.write_text(f'NAME="k3OS"\nID=k3os\nVERSION_ID={NOW}\n')
    return K3os("k3os", root, release=release, kernel=KERNEL)


def test_no_need(provider):
    assert provider.ask() == NotNeeded("k3os", running=f"{NOW}, kernel {KERNEL}")


def test_another_system(provider, root):
    link(root, "k3os", NEXT)
    need = provider.ask()
    assert need == Need(
        "k3os",
        "k3os",
        need.fingerprint,
        f"k3OS {NEXT}; k3s is v1.20.7+k3s1",
        origin=f"{NOW}, kernel {KERNEL}",
        target=f"{NEXT}, kernel {KERNEL}",
    )


def test_another_kernel(provider, root):
    link(root, "kernel", NEXT_KERNEL)
    need = provider.ask()
    assert need.reason == f"kernel {NEXT_KERNEL}; k3s is v1.20.7+k3s1"
    assert need.target == f"{NOW}, kernel {NEXT_KERNEL}"


def test_both(provider, root):
    link(root, "k3os", NEXT)
    first = provider.ask().fingerprint
    link(root, "kernel", NEXT_KERNEL)
    need = provider.ask()
    assert need.reason.startswith(f"k3OS {NEXT} and kernel {NEXT_KERNEL}")
    assert need.fingerprint != first


def test_another_k3s_is_no_need_and_no_other_update(provider, root):
    link(root, "k3s", "v1.21.5+k3s2")
    assert isinstance(provider.ask(), NotNeeded)
    link(root, "k3os", NEXT)
    first = provider.ask()
    link(root, "k3s", "v1.22.0+k3s1")
    assert provider.ask().fingerprint == first.fingerprint
    assert provider.ask().reason.endswith("k3s is v1.22.0+k3s1")


def test_an_absolute_link(provider, root):
    (root / "k3os" / "current").unlink()
    (root / "k3os" / "current").symlink_to(root / "k3os" / NOW)
    assert isinstance(provider.ask(), NotNeeded)


def test_withdrawn(provider, root):
    link(root, "k3os", NEXT)
    assert isinstance(provider.ask(), Need)
    link(root, "k3os", NOW)
    assert isinstance(provider.ask(), NotNeeded)


def test_a_board_without_a_kernel_of_k3os(provider, root):
    (root / "kernel" / "current").unlink()
    assert provider.ask() == NotNeeded("k3os", running=f"{NOW}, kernel {KERNEL}")


def test_another_system_is_unknown(provider, root, tmp_path):
    (root / "k3os" / "current").unlink()
    assert provider.ask() == NeedUnknown("k3os", f"there is no {root}/k3os/current: is this k3OS?")
    assert isinstance(K3os("k3os", tmp_path / "nowhere", release=tmp_path / "os-release").ask(), NeedUnknown)
    (tmp_path / "os-release").write_text("ID=debian\n")
    assert provider.ask() == NeedUnknown("k3os", "os-release has no VERSION_ID: is this k3OS?")
    (tmp_path / "os-release").unlink()
    assert isinstance(provider.ask(), NeedUnknown)


def test_what_is_no_link_is_unknown(provider, root):
    (root / "kernel" / "current").unlink()
    (root / "kernel" / "current").mkdir()
    assert provider.ask() == NeedUnknown("k3os", f"cannot read the link {root}/kernel/current: Invalid argument")


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_nothing_raises(tmp_path_factory, target):
    root = tmp_path_factory.mktemp("system")
    (root / "os-release").write_text(f"VERSION_ID={NOW}\n")
    for component in ("k3os", "kernel", "k3s"):
        (root / component).mkdir()
        (root / component / "current").symlink_to(target)
    answer = K3os("k3os", root, release=root / "os-release", kernel=KERNEL).ask()
    assert isinstance(answer, (Need, NotNeeded, NeedUnknown))
