"""Hatchling's build hook: puts the compiled core into a wheel, which is then for this platform alone."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CompiledCore(BuildHookInterface[Any]):
    """Compiles where that can be done; an editable installation finds the module in the tree."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the compiled module to the wheel's files."""
        sys.path.insert(0, self.root)
        from deploy import extension

        if version == "editable" or extension.missing():
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        for module in extension.build():
            build_data["force_include"][str(module)] = str(module.relative_to(Path(self.root)))
