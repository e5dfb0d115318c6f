"""The models held against an independent library on the same paths (tests/reference/peer)."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from schemas.reasons import MODELS
from streams.core.attribution import attribute
from tests.reference.events import DAY, MINUTE, T0

PEER = Path(__file__).parents[1] / "reference" / "peer" / "peer.py"
PYTHON = Path(sys.prefix) / "share" / "headwater" / "peer" / "bin" / "python"
CHANNELS = ("Direct", "Direct", "Email", "Paid Search", "Paid Social", "Referral")
VALUES = (1_000_000, 100_000_000, 19_990_000, 0, -5_550_000, 1, 9_999_999_999)


def journeys(count):
    """Paths of 1 to 40 touches, some of one channel only, some with every touch a channel of its own."""
    chance = random.Random(5)
    found = []
    for number in range(count):
        length = chance.choice([1, 1, 2, 2, 3, 4, 5, 8, 13, 40])
        minutes = sorted((chance.randrange(30 * DAY // MINUTE) for _ in range(length)), reverse=True)
        channels = [chance.choice(CHANNELS[: chance.choice([1, 3, 6, 6])]) for _ in range(length)]
        if number % 2:
            channels = [name if name == "Direct" else f"{name} {place}" for place, name in enumerate(channels)]
        found.append({"channels": channels, "minutes": minutes, "micros": chance.choice(VALUES)})
    return found


@pytest.fixture(scope="module")
def paths():
    """The same for both."""
    return journeys(400)


@pytest.fixture(scope="module")
def peers(paths):
    """What the library says of them."""
    if not PYTHON.exists():
        pytest.skip("the library to compare with is not installed: `make peer` does it")
    told = [{name: path[name] for name in ("channels", "minutes")} | {"value": path["micros"] / 1e6} for path in paths]
    run = subprocess.run(
        [PYTHON, PEER], input=json.dumps(told), capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def ours(path, model):
    """Micros by channel that the core credits for a path."""
    touches = [
        {"event_id": f"{place:02}", "type": "click", "time": T0 - minutes * MINUTE, "channel": channel}
        for place, (channel, minutes) in enumerate(zip(path["channels"], path["minutes"], strict=True))
    ]
    order = dict.fromkeys(("site", "conversion_id", "visitor_id", "action", "order_id", "currency"), "")
    order |= {"time": T0, "status": "approved", "value_micros": path["micros"], "revision": 1}
    found = attribute(order, touches)
    by_channel = Counter()
    for index, _, micros in found["credits"][model]:
        by_channel[found["touches"][index]["channel"]] += micros
    return by_channel


@pytest.mark.parametrize("model", MODELS)
def test_every_path_is_credited_as_the_library_does(paths, peers, model):
    """To the micro that rounding moves, channel by channel."""
    for path, theirs in zip(paths, peers["credits"][model], strict=True):
        expected = Counter()
        for channel, value in zip(path["channels"], theirs, strict=True):
            expected[channel] += value * 1e6
        found = ours(path, model)
        for channel in path["channels"]:
            assert found[channel] == pytest.approx(expected[channel], rel=1e-9, abs=path["channels"].count(channel))


@pytest.mark.parametrize("model", MODELS)
def test_channels_earn_in_all_what_the_library_sums_up(paths, peers, model):
    """Its own totals, which its model of the last touch but Direct works out in another way than its paths."""
    found = Counter()
    for path in paths:
        found.update(ours(path, model))
    totals = peers["totals"][model]
    assert totals.keys() <= {channel for path in paths for channel in path["channels"]}
    for channel in {channel for path in paths for channel in path["channels"]}:
        assert found[channel] == pytest.approx(totals.get(channel, 0) * 1e6, rel=1e-9, abs=len(paths))
