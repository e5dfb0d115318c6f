"""Journeys as an independent library credits them: marketing-attribution-models 1.0.10 (dp6, Apache 2.0), unchanged.

Run by the Python of its own environment (`make peer`), which has nothing of ours: journeys as JSON on stdin, each with
`channels`, `minutes` (before the conversion) and `value`; on stdout by model the credits of each journey's touches,
and `totals`, what the library sums up by channel.
"""

from __future__ import annotations

import json
import sys
import types
import warnings

HALF_LIFE_MINUTES = 7 * 24 * 60


def by_channel(sums):
    """The library's sums by channel, which come as a column with the channels as index, or as two columns."""
    pairs = sums.items() if sums.ndim == 1 else sums.itertuples(index=False)
    return {channel: float(value) for channel, value in pairs}


def main():
    warnings.simplefilter("ignore")
    # It draws pictures too, on import; what it needs for them is not installed.
    for name in ("matplotlib", "matplotlib.pyplot", "seaborn"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["matplotlib"].pyplot = sys.modules["matplotlib.pyplot"]
    sys.modules["matplotlib.pyplot"].style = types.SimpleNamespace(use=lambda name: None)
    import pandas as pd
    from marketing_attribution_models import MAM

    frame = pd.DataFrame(json.load(sys.stdin))
    frame["journey"] = range(len(frame))
    frame["converted"] = True
    library = MAM(
        frame,
        channels_colname="channels",
        time_till_conv_colname="minutes",
        conversion_value="value",
        journey_with_conv_colname="converted",
        group_channels_by_id_list=["journey"],
    )
    results = {
        "last_touch": library.attribution_last_click(),
        "last_non_direct": library.attribution_last_click_non(but_not_this_channel="Direct"),
        "first_touch": library.attribution_first_click(),
        "linear": library.attribution_linear(),
        "position_based": library.attribution_position_based([0.4, 0.2, 0.4]),
        # It decays by whole steps of its unit of time, so a step is a minute here.
        "time_decay": library.attribution_time_decay(decay_over_time=0.5 ** (1 / HALF_LIFE_MINUTES), frequency=1),
    }
    told = {model: [list(map(float, touches)) for touches in credits_] for model, (credits_, _) in results.items()}
    totals = {model: by_channel(sums) for model, (_, sums) in results.items()}
    json.dump({"credits": told, "totals": totals}, sys.stdout)


if __name__ == "__main__":
    main()
