"""Addresses and tokens as the command lines of Consul and Nomad take them."""

from pathlib import Path

import pytest

from locksmith.drains.addresses import service_at
from locksmith.errors import ConfigError

NOTHING = {"token_file": None, "ca_file": None, "cert_file": None, "key_file": None}


def test_kinds_of_addresses():
    assert service_at("Consul", address="localhost:8500", environ={}, **NOTHING).address == "http://localhost:8500"
    secure = service_at("Consul", address="localhost:8501", environ={}, **{**NOTHING, "ca_file": Path("/ca")})
    assert secure.address == "https://localhost:8501"
    assert service_at("Consul", address="http://localhost:8500/", environ={}, **NOTHING).address.endswith(":8500")
    assert service_at("Consul", address="unix:///run/consul.sock", environ={}, **NOTHING).unix == Path(
        "/run/consul.sock"
    )


@pytest.mark.parametrize("text", ["t0ken", "t0ken\n", " t0ken"])
def test_a_token_of_the_environment(text):
    made = service_at("Nomad", address="http://localhost:4646", environ={"NOMAD_TOKEN": text}, **NOTHING)
    assert made.headers == {"X-Nomad-Token": "t0ken"}
    assert "t0ken" not in repr(made)


@pytest.mark.parametrize("text", ["two words", "a\nb", "caf\u00e9"])
def test_a_token_that_cannot_be_sent_names_its_variable_and_not_itself(text):
    with pytest.raises(ConfigError, match="CONSUL_HTTP_TOKEN") as caught:
        service_at("Consul", address="http://localhost:8500", environ={"CONSUL_HTTP_TOKEN": text}, **NOTHING)
    assert text not in str(caught.value)


@pytest.mark.parametrize("address", ["http://root:secret@", "root:secret@:port", "ftp://root:secret@host"])
def test_an_address_that_cannot_be_used_holds_no_secret(address):
    with pytest.raises(ConfigError, match="--address") as caught:
        service_at("Consul", address=address, environ={}, **NOTHING)
    assert "secret" not in str(caught.value)


def test_no_secret_in_what_is_shown_of_a_service():
    made = service_at("Consul", address="http://root:secret@localhost:8500", environ={}, **NOTHING)
    assert "secret" not in repr(made)
