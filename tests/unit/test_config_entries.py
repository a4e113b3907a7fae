"""Every kind of update provider and check: defaults, all keys, and what is refused with which words."""

from datetime import timedelta
from pathlib import Path
from typing import get_args

import pytest

from locksmith.config import load
from locksmith.config_checks import (
    AlertsSpec,
    CheckKind,
    ConsulHealthSpec,
    ContainersSpec,
    FileSpec,
    InhibitorsSpec,
    KubernetesNodeSpec,
    MinUptimeSpec,
    SessionsSpec,
    TcpSpec,
    UnitsSpec,
    UrlSpec,
)
from locksmith.config_model import Config
from locksmith.config_updates import (
    K3osUpdate,
    KernelUpdate,
    NeedrestartUpdate,
    NeedsRestartingUpdate,
    ProgramUpdate,
    RebootRequiredUpdate,
    SnapdUpdate,
    TransactionalUpdate,
    UpdateEngineUpdate,
    UpdateKind,
    default_update,
)
from locksmith.errors import ConfigError
from locksmith.hooks import HookRule
from locksmith.host.tls import NO_FILES, Tls

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)


def read(folder: Path, text: str, environ: dict[str, str] | None = None) -> Config:
    file = folder / "locksmith.toml"
    file.write_text(text)
    return load(file, environ=environ or {})


# ------------------------------------------------------------------------------------------------ updates

DEFAULTS = {
    "reboot-required": RebootRequiredUpdate("x", Path("/run/reboot-required"), Path("/run/reboot-required.pkgs")),
    "update-engine": UpdateEngineUpdate("x", 10 * SECOND),
    "rpm-ostree": ProgramUpdate("x", "rpm-ostree", 30 * SECOND),
    "bootc": ProgramUpdate("x", "bootc", 30 * SECOND),
    "sysupdate": ProgramUpdate("x", "sysupdate", 30 * SECOND),
    "transactional-update": TransactionalUpdate("x", Path("/run/reboot-needed")),
    "needrestart": NeedrestartUpdate("x", 2 * MINUTE, microcode=False),
    "needs-restarting": NeedsRestartingUpdate("x", 2 * MINUTE, "auto"),
    "snapd": SnapdUpdate("x", Path("/run/snapd.socket"), 10 * SECOND),
    "k3os": K3osUpdate("x", Path("/k3os/system")),
    "kernel": KernelUpdate("x"),
}


@pytest.mark.parametrize("kind", DEFAULTS)
def test_a_provider_needs_no_more_than_its_kind(tmp_path, kind):
    config = read(tmp_path, f'[updates.x]\nkind = "{kind}"\n')
    assert config.updates == (DEFAULTS[kind],)
    assert not config.detect_updates


def test_no_kind_of_provider_is_left_out_above():
    assert {*DEFAULTS, "command"} == set(get_args(UpdateKind))


@pytest.mark.parametrize("kind", DEFAULTS)
def test_a_detected_provider_is_one_that_was_written_without_keys(tmp_path, kind):
    [written] = read(tmp_path, f'[updates.{kind}]\nkind = "{kind}"\n').updates
    assert default_update(kind) == written


def test_all_keys_of_providers(tmp_path):
    config = read(
        tmp_path,
        """
        [updates.a]
        kind = "needrestart"
        timeout = "1m"
        microcode = true
        [updates.b]
        kind = "needs-restarting"
        timeout = "1m"
        tool = "dnf5"
        [updates.c]
        kind = "snapd"
        socket = "/run/other.socket"
        timeout = "1s"
        """,
    )
    assert config.updates == (
        NeedrestartUpdate("a", MINUTE, microcode=True),
        NeedsRestartingUpdate("b", MINUTE, "dnf5"),
        SnapdUpdate("c", Path("/run/other.socket"), SECOND),
    )


# ------------------------------------------------------------------------------------------------ checks

CHECKS = [
    ('kind = "url"\nurl = "http://[::1]:80/x"', UrlSpec("x", "http://[::1]:80/x", 10 * SECOND, (), None, NO_FILES)),
    (
        (
            'kind = "url"\nurl = "https://app/healthz"\nstatus = [200, 204]\nbody = "^ok$"\ntimeout = "3s"\nca_file = "/ca"\n'
            'cert_file = "/cert"\nkey_file = "/key"\ntoken_file = "/token"'
        ),
        UrlSpec(
            "x",
            "https://app/healthz",
            3 * SECOND,
            (200, 204),
            "^ok$",
            Tls(Path("/ca"), Path("/cert"), Path("/key"), Path("/token")),
        ),
    ),
    ('kind = "tcp"\naddress = "[::1]:443"', TcpSpec("x", ("::1", 443), 10 * SECOND)),
    ('kind = "tcp"\naddress = "db.local:5432"', TcpSpec("x", ("db.local", 5432), 10 * SECOND)),
    (
        'kind = "units"',
        UnitsSpec(
            "x",
            20 * SECOND,
            units=(),
            ignore=(),
            failed_units=True,
            system_running=False,
            boot_complete=False,
            greenboot=False,
        ),
    ),
    (
        (
            'kind = "units"\nunits = ["nginx.service"]\nignore = ["snap-*"]\nfailed_units = false\nsystem_running = true\n'
            'boot_complete = true\ngreenboot = true\ntimeout = "1s"'
        ),
        UnitsSpec(
            "x",
            SECOND,
            units=("nginx.service",),
            ignore=("snap-*",),
            failed_units=False,
            system_running=True,
            boot_complete=True,
            greenboot=True,
        ),
    ),
    ('kind = "containers"', ContainersSpec("x", Path("/run/docker.sock"), 10 * SECOND, ())),
    (
        'kind = "kubernetes-node"\nnode = "n1"\nkubeconfig = "/etc/kube"',
        KubernetesNodeSpec("x", "n1", Path("/etc/kube"), 10 * SECOND),
    ),
    ('kind = "kubernetes-node"', KubernetesNodeSpec("x", None, None, 10 * SECOND)),
    (
        (
            'kind = "alerts"\nurl = "http://prometheus:9090"\nexpressions = ["up == 0"]\npending = true\nignore = "^Watchdog$"\n'
            'on_error = "open"'
        ),
        AlertsSpec(
            "x",
            "prometheus",
            "http://prometheus:9090",
            10 * SECOND,
            expressions=("up == 0",),
            pending=True,
            matchers=(),
            ignore="^Watchdog$",
            on_error="open",
            tls=NO_FILES,
        ),
    ),
    (
        'kind = "alerts"\nsource = "alertmanager"\nurl = "http://am:9093"\nmatchers = ["severity=page"]',
        AlertsSpec(
            "x",
            "alertmanager",
            "http://am:9093",
            10 * SECOND,
            expressions=(),
            pending=False,
            matchers=("severity=page",),
            ignore=None,
            on_error="closed",
            tls=NO_FILES,
        ),
    ),
    (
        'kind = "consul-health"\nservices = ["web"]\ntags = ["live"]\nmin_passing = 2\ntoken_file = "/t"',
        ConsulHealthSpec(
            "x",
            "http://127.0.0.1:8500",
            10 * SECOND,
            services=("web",),
            tags=("live",),
            min_passing=2,
            tls=Tls(token_file=Path("/t")),
        ),
    ),
    ('kind = "file"\npath = "/run/no-reboot"', FileSpec("x", Path("/run/no-reboot"), "present")),
    ('kind = "file"\npath = "/run/ok"\nclosed_when = "absent"', FileSpec("x", Path("/run/ok"), "absent")),
]
GATES = [
    ('kind = "sessions"', SessionsSpec("x", 5 * MINUTE)),
    ('kind = "sessions"\ngrace = "0s"', SessionsSpec("x", timedelta(0))),
    ('kind = "inhibitors"\nignore = ["backup"]', InhibitorsSpec("x", ("backup",))),
    ('kind = "min-uptime"\nuptime = "1h"', MinUptimeSpec("x", 60 * MINUTE)),
]


@pytest.mark.parametrize(("text", "spec"), CHECKS)
def test_a_check_is_a_gate_or_health_alike(tmp_path, text, spec):
    assert read(tmp_path, f"[gates.x]\n{text}\n").gates == (spec,)
    assert read(tmp_path, f"[health.x]\n{text}\n").health == (spec,)


@pytest.mark.parametrize(("text", "spec"), GATES)
def test_some_are_gates_only(tmp_path, text, spec):
    assert read(tmp_path, f"[gates.x]\n{text}\n").gates == (spec,)
    with pytest.raises(ConfigError, match=r"health.x.kind: [a-z-]+ is a gate: .*write it under \[gates.x\]"):
        read(tmp_path, f"[health.x]\n{text}\n")


def test_no_kind_of_check_is_left_out_above():
    shown = {text.partition("\n")[0].removeprefix('kind = "').rstrip('"') for text, _ in CHECKS + GATES}
    assert {*shown, "command"} == set(get_args(CheckKind))


def test_a_file_of_a_check_may_be_a_credential_of_the_unit(tmp_path):
    (tmp_path / "token").write_text("t")
    text = '[gates.x]\nkind = "consul-health"\ntoken_file = "/etc/locksmith/token"\n'
    config = read(tmp_path, text, {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert config.gates[0].tls.token_file == tmp_path / "token"


# ------------------------------------------------------------------------------------------------ hooks


def test_a_hook_may_have_rules_of_its_own(tmp_path):
    text = """
        [hooks]
        timeout = "1m"
        [hooks.each."10-drain.sh"]
        on_failure = "force"
        force_after = "5m"
        [hooks.each."20-db"]
        timeout = "20m"
        """
    assert dict(read(tmp_path, text).hooks.each) == {
        "10-drain.sh": HookRule(MINUTE, "force", 5 * MINUTE),
        "20-db": HookRule(20 * MINUTE, "abort", 60 * MINUTE),
    }


REFUSED = [
    ('[updates.x]\nkind = "apt"', "updates.x.kind: unknown kind 'apt'"),
    ('[updates.x]\nkind = "rpm-ostre"', "did you mean 'rpm-ostree'"),
    ('[updates.x]\nkind = "kernel"\ntimeout = "1s"', "updates.x.timeout: unknown key"),
    ('[updates.x]\nkind = "needs-restarting"\ntool = "dnf"', "updates.x.tool: unknown word 'dnf'"),
    ('[updates.x]\nkind = "bootc"\ntimeout = "0s"', "is too short"),
    ('[gates.x]\nkind = "window"', "windows have a table of their own"),
    ('[gates.x]\nkind = "url"', "gates.x.url: is missing"),
    ('[gates.x]\nkind = "url"\nurl = "ftp://x/"', "is no URL"),
    ('[gates.x]\nkind = "url"\nurl = "http://u:p@x/"', "no user or password in a URL"),
    ('[gates.x]\nkind = "url"\nurl = "http://x:99999/"', "is no URL"),
    ('[gates.x]\nkind = "url"\nurl = "http://x/"\nstatus = ["200"]', "write status = [200, 204]"),
    ('[gates.x]\nkind = "url"\nurl = "http://x/"\nstatus = [20]', "write status = [200, 204]"),
    ('[gates.x]\nkind = "url"\nurl = "http://x/"\nstatus = [true]', "write status = [200, 204]"),
    ('[gates.x]\nkind = "url"\nurl = "http://x/"\nbody = "("', "is no regular expression"),
    ('[gates.x]\nkind = "url"\nurl = "http://x/"\nca_file = "/ca"', "has no use without TLS"),
    ('[gates.x]\nkind = "url"\nurl = "https://x/"\nkey_file = "/k"', "needs cert_file beside it"),
    ('[gates.x]\nkind = "tcp"\naddress = "x"', "is no address"),
    ('[gates.x]\nkind = "tcp"\naddress = "x:0"', "is no address"),
    ('[gates.x]\nkind = "tcp"\naddress = "x:70000"', "is no address"),
    ('[gates.x]\nkind = "units"\nunits = "nginx.service"', 'write units = ["one", "other"]'),
    ('[gates.x]\nkind = "units"\nunits = [""]', 'write units = ["one", "other"]'),
    ('[gates.x]\nkind = "alerts"', "gates.x.url: is missing"),
    ('[gates.x]\nkind = "alerts"\nurl = "http://x"\nmatchers = ["a=b"]', "is Alertmanager's"),
    ('[gates.x]\nkind = "alerts"\nsource = "alertmanager"\nurl = "http://x"\nexpressions = ["up"]', "is Prometheus'"),
    ('[gates.x]\nkind = "alerts"\nsource = "alertmanager"\nurl = "http://x"\npending = true', "is Prometheus'"),
    ('[gates.x]\nkind = "file"\npath = "here"', "is not an absolute path"),
    ('[gates.x]\nkind = "file"\npath = "/x"\nclosed_when = "there"', "unknown word 'there'"),
    ("[hooks]\neach = 3", 'write [hooks.each."NAME"]'),
    ('[hooks.each."a/b"]\n', "is not the name of a file in a folder"),
    ('[hooks.each.a]\nforce_after = "1m"', 'write on_failure = "force" beside it'),
    ("[hooks.each.a]\nretries = 1", "unknown key"),
    ('[agent]\nallow_coordinators = "zincati"', 'write allow_coordinators = ["one", "other"]'),
    ('[gates.a]\nkind = "sessions"\n[gates.b]\nkind = "sessions"', "one entry of kind sessions is enough, and a is one"),
    ('[reboot]\nmethod = "kexecc"', "did you mean 'kexec'"),
    ('[reboot]\ninhibitors = "ask"', "unknown word 'ask'"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "words"), REFUSED)
def test_what_is_refused_is_told_with_file_key_and_remedy(tmp_path, text, words):
    with pytest.raises(ConfigError) as refused:
        read(tmp_path, text)
    assert str(refused.value).startswith(str(tmp_path / "locksmith.toml"))
    assert words in str(refused.value)
