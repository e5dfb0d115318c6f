"""Ports are free, and the same again after a restart."""

from __future__ import annotations

import socket

import pytest

from deploy.local import ports
from deploy.local.ports import FIRST, HOST, LAST, assign, free_port, is_free
from schemas.errors import Unavailable


def test_a_listening_port_is_not_free() -> None:
    with socket.create_server((HOST, 0)) as server:
        assert not is_free(server.getsockname()[1])


def test_a_free_port_lies_below_the_ephemeral_range() -> None:
    """So no outgoing connection takes it while its service restarts."""
    assert FIRST <= free_port() <= LAST < 32_768


def test_ports_are_kept() -> None:
    """What was assigned before is assigned again."""
    first = assign(("a", "b"), {})
    assert assign(("a", "b", "c"), first).items() >= first.items()


def test_a_taken_port_is_replaced() -> None:
    """A port that another program listens on now is not assigned."""
    with socket.create_server((HOST, 0)) as server:
        taken = server.getsockname()[1]
        assert assign(("a",), {"a": taken})["a"] != taken


def test_two_names_never_share_a_port() -> None:
    port = free_port()
    assert len(set(assign(("a", "b"), {"a": port, "b": port}).values())) == 2


def test_no_free_port_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "is_free", lambda _port: False)
    with pytest.raises(Unavailable, match="no free port"):
        free_port()
