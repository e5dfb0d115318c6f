"""What the README says is so: its example runs, word for word, against a real stack."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from deploy.local.stack import LocalStack
from schemas.settings import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ADDRESSES = re.compile(r"collector=\S+ clickhouse=\S+")


def example() -> str:
    """The script between the README's markers."""
    found = re.search(r"<!-- example: begin -->\s*```bash\n(.*?)```\s*<!-- example: end -->", README, re.DOTALL)
    assert found, "the README has no example between its markers"
    return found[1]


def test_the_two_commands_stand_in_the_readme():
    """And so does every other task of the Makefile."""
    tasks = re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert {"demo", "test"} <= set(tasks)
    assert [task for task in tasks if f"make {task}" not in README] == []


def test_the_example_is_short():
    """Twenty lines at most."""
    assert len(example().strip().splitlines()) <= 20
    assert len(ADDRESSES.findall(example())) == 1


def test_paths_of_the_readme_exist():
    """Files and directories that it points at are there."""
    for path in re.findall(r"\]\(([^)#:]+)\)", README) + re.findall(r"^\| `([^` ]+)` \|", README, re.MULTILINE):
        assert (ROOT / path).exists(), path


@pytest.mark.integration
async def test_the_example_credits_the_click_within_two_seconds(tmp_path):
    """The example waits two seconds and finds the credit under all models; a busy machine has three tries."""
    assert "sleep 2\n" in example()
    async with LocalStack(Settings(data_dir=tmp_path)) as stack:
        at = stack.settings
        addresses = (
            f"collector=http://{at.collector_host}:{at.collector_port} "
            f"clickhouse=http://{at.clickhouse_host}:{at.clickhouse_port}"
        )
        script = ADDRESSES.sub(addresses, example())
        for _ in range(3):
            done = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, timeout=60, check=False)
            if "time_decay" in done.stdout:
                break
    assert done.returncode == 0, done.stderr
    assert '{"accepted":2,"rejected":[]}' in done.stdout
    rows = [line.split("│")[1:7] for line in done.stdout.splitlines() if "│" in line and "Paid Search" in line]
    models = ["first_touch", "last_non_direct", "last_touch", "linear", "position_based", "time_decay"]
    assert [[cell.strip() for cell in row] for row in rows] == [
        [model, "Paid Search", "spring", "1", "49.9", "EUR"] for model in models
    ]
