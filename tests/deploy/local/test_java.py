"""Kafka's jars are the ones listed, or the broker does not run."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace

import jgo
import pytest

from deploy.local import java
from schemas.errors import ConfigurationError, Unavailable


@pytest.fixture
def jars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two jars that jgo brings, listed with their sums, and nothing remembered."""
    for name in ("a.jar", "b.jar"):
        (tmp_path / name).write_bytes(name.encode())
    sums = tmp_path / "jars.sha256"
    sums.write_text("".join(f"{hashlib.sha256(n.encode()).hexdigest()}  {n}\n" for n in ("a.jar", "b.jar")))
    monkeypatch.setattr(java, "_SUMS", sums)
    monkeypatch.setattr(java, "_SHARE", tmp_path / "share")
    monkeypatch.setattr(jgo, "build", lambda _endpoint: SimpleNamespace(all_jars=sorted(tmp_path.glob("*.jar"))))
    return tmp_path


def test_listed_jars_are_the_class_path_and_remembered(jars: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is fetched once."""
    path = java.classpath()
    assert path == f"{jars / 'a.jar'}:{jars / 'b.jar'}"
    monkeypatch.delattr(jgo, "build")
    assert java.classpath() == path


def test_a_jar_that_went_missing_is_fetched_again(jars: Path) -> None:
    java.classpath()
    (jars / "b.jar").rename(jars / "b")
    with pytest.raises(ConfigurationError, match=r"did not bring b\.jar"):
        java.classpath()


def test_another_content_is_refused(jars: Path) -> None:
    (jars / "b.jar").write_bytes(b"other")
    with pytest.raises(ConfigurationError, match=r"b\.jar is not the jar listed"):
        java.classpath()


def test_a_jar_that_is_not_listed_is_refused(jars: Path) -> None:
    (jars / "c.jar").touch()
    with pytest.raises(ConfigurationError, match=r"c\.jar is not the jar listed"):
        java.classpath()


def test_no_network_is_said(jars: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_endpoint: str) -> None:
        message = "no route"
        raise OSError(message)

    monkeypatch.setattr(jgo, "build", fail)
    with pytest.raises(Unavailable, match="cannot be fetched by jgo: no route"):
        java.classpath()
